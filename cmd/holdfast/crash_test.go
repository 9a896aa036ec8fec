package main

// This file holds the crash tests: real servers on both engines are killed with SIGKILL at seeded
// random moments while clients freeze, withdraw and make keys over the network, and everything that
// was acknowledged is looked for afterwards.
