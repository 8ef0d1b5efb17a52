package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLicenceOf(t *testing.T) {
	for text, want := range map[string]string{
		"Apache License\n   Version 2.0, January 2004":                                                       "Apache-2.0",
		"Permission is hereby granted, free of\ncharge, … WITHOUT WARRANTY OF ANY KIND":                      "MIT",
		"> Redistribution and use in source and binary\n> forms … Neither the name of":                       "BSD-3-Clause",
		"Redistribution and use in source and binary forms":                                                  "BSD-2-Clause",
		"Permission is hereby granted, free of charge":                                                       "",
		"GNU GENERAL PUBLIC LICENSE":                                                                         "",
		"This project is covered by two different licenses: MIT and Apache. … Permission is hereby granted,": "Apache-2.0 and MIT",
	} {
		if got, ok := licenceOf(text); got != want || ok != (want != "") {
			t.Errorf("%.50q: got %q, want %q", text, got, want)
		}
	}
}

func TestLicenceIn(t *testing.T) {
	dir := t.TempDir()
	if _, err := licenceIn(dir); err == nil || !strings.Contains(err.Error(), "no licence") {
		t.Errorf("an empty module: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "LICENSE.txt"), []byte("all rights reserved"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := licenceIn(dir); err == nil || !strings.Contains(err.Error(), "LICENSE.txt is not one") {
		t.Errorf("an unknown licence: %v", err)
	}
}

func TestCheckReasons(t *testing.T) {
	const text = "| module | for |\n|---|---|\n| `example.com/a` | a |\n| `example.com/b` | b |\n"
	if err := checkReasons(text, []string{"example.com/a", "example.com/b"}); err != nil {
		t.Error(err)
	}
	err := checkReasons(text, []string{"example.com/a", "example.com/c"})
	if err == nil || !strings.Contains(err.Error(), "no row for example.com/c") || !strings.Contains(err.Error(), "a row for example.com/b") {
		t.Errorf("got %v", err)
	}
}

func TestSplit(t *testing.T) {
	before, after, err := split("a\n" + begin + "old\n" + end + "b\n")
	if err != nil || before != "a\n" || after != "b\n" {
		t.Errorf("got %q, %q, %v", before, after, err)
	}
	if _, _, err := split("a\n" + begin); err == nil {
		t.Error("a list without an end is taken")
	}
}
