//go:build volatile

package main

// volatileStore is on in a build that is planted to be bad: the durability tests have to find it.
const volatileStore = true
