//go:build linux

package main

import (
	"maps"
	"testing"
)

func TestProperties(t *testing.T) {
	got := properties([]string{
		"KAFKA_NODE_ID=1", "KAFKA_LISTENERS=BOB://:29092,FRED://:9092", "KAFKA_A__B___C=x=y", "HOME=/", "CLUSTER_ID=z",
	})
	want := map[string]string{"node.id": "1", "listeners": "BOB://:29092,FRED://:9092", "a_b-c": "x=y"}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
