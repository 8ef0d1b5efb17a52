// Package handover passes the listening sockets of a process to a new one, which takes its place
// while no connection is refused. It knows sockets and processes, and no proxy.
//
//	Plan.Run, in the old process           Predecessor, in the new one
//
//	hello          ───────────────────────▶ Receive
//	sockets, in batches ──────────────────▶    sockets by address: Sockets.Take
//	               ◀─────────────────────── status: why it is not ready yet
//	               ◀─────────────────────── bound: it has read and bound everything: AwaitState
//	Plan.Release
//	released       ───────────────────────▶    it locks and reads the state files
//	               ◀─────────────────────── ready: it could serve: AwaitTurn
//	commit         ───────────────────────▶    it accepts connections
//	               ◀─────────────────────── serving: Serving
//	it stops accepting, and drains
//	sessions       ───────────────────────▶ Report
//	its end        ───────────────────────▶ Report
//
// Until serving, the old process has changed nothing that it cannot take back. If the new one
// reports failed, ends, or is late, it is killed, and Plan.Retake undoes Release: see [Plan.Run]. If
// the old one ends before, the new one has to serve: every step of [Predecessor] then returns at once.
// The first message about sessions follows when the caller of Run has named the new process to the
// supervisor.
//
// The two are connected by a pair of unix sockets. The environment of the new process has the
// number of its end and nothing else. Messages are short and bounded (message.go); descriptors
// travel beside them (SCM_RIGHTS), maxBatch at a time.
//
// The package is in the place of github.com/cloudflare/tableflip for two reasons. tableflip holds
// two descriptors for each listening socket, for as long as the process runs: 10,000 ports need more
// than 20,000 files, which is the usual limit for kproxy's service. Here each process holds one for
// each, and a batch more during the hand-over. And tableflip's new process tells that it is ready,
// and hears nothing: it cannot wait for the state files, or tell why it failed.
//
// Systems other than Unix cannot pass descriptors so. There, [IsSupported] is false.
package handover
