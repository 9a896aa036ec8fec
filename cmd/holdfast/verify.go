package main

import (
	"encoding/json"
	"fmt"
	"os"

	"holdfast/evidence/verify"
)

// verifyCmd checks an exported chain. It needs no server, no network and no key: whoever was given
// a file can check it without trusting who gave it.
type verifyCmd struct {
	File string `arg:"" type:"existingfile" help:"Export made by holdfast export."`
	Head string `placeholder:"N:HASH" help:"Entry number and head from a security mail, as 41:9f3c…; shows whether the end was cut."`
	JSON bool   `name:"json" help:"Print the result as JSON."`
}

// verdict is the result as scripts read it.
type verdict struct {
	verify.Result
	OK      bool   `json:"ok"`
	Verdict string `json:"verdict"`
}

// Run prints the verdict. A chain that was altered or cut ends with status 1.
func (v verifyCmd) Run(c console) error {
	var head *verify.Head
	if v.Head != "" {
		h, err := verify.ParseHead(v.Head)
		if err != nil {
			return withHint(fmt.Errorf("--head: %w", err), "copy it from the end of a security mail")
		}
		head = &h
	}
	f, err := os.Open(v.File)
	if err != nil {
		return fmt.Errorf("open the export: %w", err)
	}
	defer f.Close()
	result, err := verify.Chain(f, head)
	if err != nil {
		return withHint(err, "holdfast export ACCOUNT --out FILE makes an export")
	}
	if v.JSON {
		err = json.NewEncoder(c.out).Encode(verdict{result, result.OK(), result.Verdict()})
	} else {
		_, err = fmt.Fprintln(c.out, result.Verdict())
	}
	if err == nil && !result.OK() {
		return errQuiet
	}
	return err
}
