//go:build early

package main

// acknowledge answers before the commit. It is in a build that is planted to be bad: the durability
// tests have to find it.
func acknowledge(closes func() error) error {
	go func() { _ = closes() }()
	return nil
}
