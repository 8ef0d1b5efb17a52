// Package terraform holds the Terraform in the pages to HCL. It is a module of its own, so that kproxy does
// not depend on HCL.
package terraform

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// recipes are the blocks of Terraform in the pages, by page and section.
func recipes(t *testing.T) map[string]string {
	t.Helper()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, section := range strings.Split(string(text), "\n## ") {
			name, _, _ := strings.Cut(section, "\n")
			for _, block := range regexp.MustCompile("(?sm)^```hcl\n(.*?)^```").FindAllStringSubmatch(section, -1) {
				found[filepath.Base(page)+", "+name] += block[1]
			}
		}
	}
	return found
}

func TestPages(t *testing.T) {
	all := recipes(t)
	if len(all) < 4 {
		t.Errorf("found Terraform in %d sections", len(all))
	}
	for name, text := range all {
		if err := check(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// check parses a configuration, and follows each reference to a block.
func check(text string) error {
	file, diags := hclsyntax.ParseConfig([]byte(text), "recipe.tf", hcl.InitialPos)
	if diags.HasErrors() {
		return diags
	}
	body := file.Body.(*hclsyntax.Body)
	declared := map[string]bool{}
	for _, b := range body.Blocks {
		switch b.Type {
		case "resource":
			declared[strings.Join(b.Labels, ".")] = true
		case "data":
			declared["data."+strings.Join(b.Labels, ".")] = true
		case "variable":
			declared["var."+b.Labels[0]] = true
		}
	}
	for _, b := range body.Blocks {
		if b.Type == "variable" { // types are no references
			continue
		}
		if err := references(b.Body, declared); err != nil {
			return err
		}
	}
	return nil
}

// references follows those of a block and of the blocks in it.
func references(body *hclsyntax.Body, declared map[string]bool) error {
	for _, attribute := range body.Attributes {
		for _, v := range attribute.Expr.Variables() {
			name, ok := reference(v)
			if ok && !declared[name] {
				return fmt.Errorf("%s: there is no %s", v.SourceRange(), name)
			}
		}
	}
	for _, b := range body.Blocks {
		if err := references(b.Body, declared); err != nil {
			return err
		}
	}
	return nil
}

// reference is the name of the block that a traversal leads to: aws_lb.kproxy of aws_lb.kproxy.arn. The keys
// of for_each lead to none.
func reference(v hcl.Traversal) (string, bool) {
	parts := 2
	switch v.RootName() {
	case "each", "count":
		return "", false
	case "data":
		parts = 3
	}
	var names []string
	for _, step := range v[:min(parts, len(v))] {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			names = append(names, step.Name)
		case hcl.TraverseAttr:
			names = append(names, step.Name)
		}
	}
	return strings.Join(names, "."), true
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`variable "a" { type = string }` + "\n" + `resource "x" "y" { b = [var.a, x.y.id] }`, ""},
		{`resource "x" "y" { b = var.a }`, "there is no var.a"},
		{"resource \"x\" \"y\" {\n  c { b = x.z.id }\n}", "there is no x.z"},
		{`resource "x" "y" { b = data.x.y.id }`, "there is no data.x.y"},
		{`resource "x" "y" { b = }`, "Invalid expression"},
	} {
		err := check(tt.text)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", tt.text, err, tt.want)
		}
	}
}
