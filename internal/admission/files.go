package admission

const (
	// filesPerConnection are the client's socket and the broker's.
	filesPerConnection = 2
	// otherFiles are kept free for everything else: log and configuration, the poller, name
	// resolution, kproxy's own questions, dials that try two addresses at once, and the
	// connections of the admin server, which uses half of them at most. Kernel pipes come
	// on top.
	otherFiles = 64
)

// ConnectionsFor returns how many connections a limit of files allows, beside other files;
// at least 1.
func ConnectionsFor(files, others int) int {
	return max((files-others-otherFiles)/filesPerConnection, 1)
}

// FilesFor returns how many files so many connections need, beside other files.
func FilesFor(connections, others int) int {
	return connections*filesPerConnection + others + otherFiles
}
