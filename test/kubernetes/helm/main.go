// SPDX-License-Identifier: Apache-2.0

// A stand-in for `helm template`, which no Debian release has: Go's own text/template with sprig, the values merged
// before. Reads {"chart": {file: text}, "values": …, "namespace": …, "version": …, "kubernetes": …} and prints what the
// templates make.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig"
)

type input struct {
	Chart      map[string]string
	Values     map[string]interface{}
	Namespace  string
	Version    string
	Kubernetes string
}

// toYaml puts every entry of a table or list on a line of its own, in YAML's JSON form: what may be indented, and merged.
func toYaml(value interface{}) (string, error) {
	var lines []string
	line := func(prefix string, value interface{}) error {
		text, err := json.Marshal(value)
		lines = append(lines, prefix+string(text))
		return err
	}
	switch typed := value.(type) {
	case map[string]interface{}:
		keys := make([]string, 0, len(typed))
		for key := range typed {
			keys = append(keys, key)
		}
		sort.Strings(keys)
		for _, key := range keys {
			name, _ := json.Marshal(key)
			if err := line(string(name)+": ", typed[key]); err != nil {
				return "", err
			}
		}
	case []interface{}:
		for _, item := range typed {
			if err := line("- ", item); err != nil {
				return "", err
			}
		}
	}
	if len(lines) == 0 {
		text, err := json.Marshal(value)
		return string(text), err
	}
	return strings.Join(lines, "\n"), nil
}

func run() error {
	var in input
	if err := json.NewDecoder(os.Stdin).Decode(&in); err != nil {
		return err
	}
	root := template.New("chart").Option("missingkey=zero")
	data := map[string]interface{}{
		"Values":       in.Values,
		"Release":      map[string]interface{}{"Namespace": in.Namespace, "Service": "Helm", "Name": "cilium"},
		"Chart":        map[string]interface{}{"AppVersion": in.Version, "Version": in.Version},
		"Capabilities": map[string]interface{}{"KubeVersion": map[string]interface{}{"Version": in.Kubernetes}},
		"Template":     map[string]interface{}{"BasePath": "templates"},
	}
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = toYaml
	functions["include"] = func(name string, data interface{}) (string, error) {
		var out bytes.Buffer
		err := root.ExecuteTemplate(&out, name, data)
		return out.String(), err
	}
	root.Funcs(functions)
	names := make([]string, 0, len(in.Chart))
	for name, text := range in.Chart {
		if _, err := root.New(name).Parse(text); err != nil {
			return err
		}
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		if strings.HasSuffix(name, ".tpl") {
			continue
		}
		var out bytes.Buffer
		if err := root.ExecuteTemplate(&out, name, data); err != nil {
			return err
		}
		// Helm prints a value that is missing as nothing.
		fmt.Println(strings.ReplaceAll(out.String(), "<no value>", ""))
	}
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
