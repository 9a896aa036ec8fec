//go:build !volatile

package main

// volatileStore lets the server run on a database that may forget what it acknowledged. No release
// is built with it; see volatile_on.go.
const volatileStore = false
