package main

import (
	"strings"
	"testing"
)

const started = `{"Action":"start","Package":"holdfast/guard"}` + "\n"

func TestReport(t *testing.T) {
	for name, c := range map[string]struct {
		in   string
		ok   bool
		says string
	}{
		"pass": {started + `{"Action":"pass","Package":"holdfast/guard","Test":"TestA","Elapsed":1.5}
{"Action":"pass","Package":"holdfast/guard","Elapsed":2}
`, true, "1.5 s  guard TestA"},
		"fail": {started + `{"Action":"output","Package":"holdfast/guard","Test":"TestA","Output":"why\n"}
{"Action":"fail","Package":"holdfast/guard","Test":"TestA","Elapsed":1}
{"Action":"fail","Package":"holdfast/guard","Elapsed":2}
`, false, "why\n"},
		"does not build": {started + `{"Action":"build-output","ImportPath":"holdfast/guard [holdfast/guard.test]","Output":"undefined: x\n"}
{"Action":"fail","Package":"holdfast/guard","Elapsed":0,"FailedBuild":"holdfast/guard [holdfast/guard.test]"}
`, false, "undefined: x"},
		"panic": {started + `{"Action":"output","Package":"holdfast/guard","Test":"TestA","Output":"panic: x\n"}
{"Action":"fail","Package":"holdfast/guard","Elapsed":0}
`, false, "panic: x"},
		"cut short": {started + `{"Action":"pass","Package":"holdfast/guard","Test":"TestA","Elapsed":1}
`, false, "did not end"},
		"no tests": {"", false, "0 passed"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			ok, err := report(strings.NewReader(c.in), &out)
			if err != nil || ok != c.ok || !strings.Contains(out.String(), c.says) {
				t.Errorf("ok %v, %v\n%s", ok, err, out.String())
			}
		})
	}
}
