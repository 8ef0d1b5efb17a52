// Package config holds the configuration of a proxy: clusters, listeners, limits, and the
// checks that find every mistake in them before a socket is opened.
//
// A program fills in a Config, from a file or from flags. [Config.Compile] checks it and
// returns a [Plan], in which every address, rule and network is parsed. Nothing is parsed
// again while the proxy runs. Mistakes are joined [*Error]s: each names the key, the problem
// and the fix. [Config.CheckFiles] adds the files and secrets that the configuration names.
package config
