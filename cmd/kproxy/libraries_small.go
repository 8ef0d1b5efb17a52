//go:build small

package main

func silenceGRPC() {} // it is not linked
