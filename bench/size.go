//go:build linux

package main

import (
	"bufio"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
)

// sizeResults are the figures that sizes are computed from.
//
//go:embed results/2026-11-30.txt
var sizeResults string

// traffic is the load that a kproxy is sized for.
type traffic struct {
	produce, consume float64 // MB/s of frames
	frame            int     // bytes of records in a frame
	tls              bool    // to the clients
	connections      int
	active           int // connections that carry data at one time
	arrivals         float64
	share            float64 // of the processors that may be used
}

// need is the sum of what traffic costs, in processors and MiB.
type need struct {
	produce, consume, arrivals, cores float64
	memory                            float64
}

const (
	sizeProcess = 40.0     // MiB of the process itself, of a kproxy without connections
	sizeActive  = 2 * 16.0 // KiB of buffers for each connection in use, both ways
)

// size computes the need. Costs are those at half load, where a proxy reads little at a time: at
// more load each byte costs less.
func (t traffic) size() (need, error) {
	var n need
	var err error
	cost := func(way string, mbPerS float64) (cores float64) {
		frame, prefix := t.nearest(frameSizes), ""
		if t.tls {
			frame, prefix = t.nearest(frameSizes[1:]), "tls-down-" // as overTLSWorkloads
		}
		name := prefix + way + "-" + sizeName(frame)
		if frame < 64*kib {
			v, e := sizeFigure(name, "pinned CPU µs/req")
			err = errors.Join(err, e)
			return v * mbPerS / float64(t.frame)
		}
		v, e := sizeFigure(name, "pinned CPU s/GB")
		err = errors.Join(err, e)
		return v * mbPerS / 1e3
	}
	n.produce, n.consume = cost("produce", t.produce), cost("fetch-v17", t.consume)
	churn := "churn"
	if t.tls {
		churn = "tls-down-churn" // a whole handshake for each
	}
	arrival, e := sizeFigure(churn, "pinned CPU µs/conn")
	n.arrivals = t.arrivals * arrival / 1e6
	n.cores = (n.produce + n.consume + n.arrivals) / t.share
	idle, e2 := sizeIdle(t.tls)
	err = errors.Join(err, e, e2)
	n.memory = sizeProcess + (idle*float64(t.connections)+sizeActive*float64(t.active))/kib
	return n, err
}

// sizeIdle is the memory of a pair of connections with the kernel's, in KiB.
func sizeIdle(tls bool) (float64, error) {
	if tls {
		return sizeFigure("tls-down-idle-1000", "with kernel (cgroup), KiB")
	}
	return sizeFigure("idle-5000", "with kernel (cgroup), KiB")
}

// check refuses figures that no traffic has. Its errors name the flag.
func (t traffic) check() error {
	const most = 1e6
	for _, each := range []struct {
		flag  string
		value float64
	}{
		{"produce", t.produce},
		{"consume", t.consume},
		{"arrivals", t.arrivals},
		{"connections", float64(t.connections)},
		{"active", float64(t.active)},
	} {
		if !(each.value >= 0 && each.value <= most) { // NaN is neither
			return fmt.Errorf("--%s %s: write a number from 0 to %.0f", each.flag, strconv.FormatFloat(each.value, 'f', -1, 64), most)
		}
	}
	switch {
	case t.produce+t.consume+t.arrivals+float64(t.connections) == 0:
		return errors.New("there is no traffic: write --produce, --consume, --arrivals or --connections")
	case t.active > t.connections:
		return fmt.Errorf("--active %d: there are %d connections; write no more than that, or raise --connections", t.active, t.connections)
	case t.frame < 1:
		return fmt.Errorf("--frame %d: write the bytes of a typical request or response, such as 65536", t.frame)
	case !(t.share > 0 && t.share <= 1):
		return fmt.Errorf("--share %v: write a part of the processors above 0 and at most 1, such as 0.5", t.share)
	default:
		return nil
	}
}

// nearest is the measured size that the frames are nearest to, by the ratio.
func (t traffic) nearest(sizes []int) int {
	distance := func(size int) float64 { return math.Abs(math.Log(float64(size) / float64(t.frame))) }
	return slices.MinFunc(sizes, func(a, b int) int { return cmp.Compare(distance(a), distance(b)) })
}

var columnGap = regexp.MustCompile(`\s{2,}`)

// sizeFigure is kproxy's median of a workload in the results.
func sizeFigure(workload, column string) (float64, error) {
	return resultOf(kproxyName, workload, column)
}

// resultOf is a target's median of a workload in the results.
func resultOf(target, workload, column string) (float64, error) {
	in, lines := false, bufio.NewScanner(strings.NewReader(sizeResults))
	var columns []string
	for lines.Scan() {
		cells := columnGap.Split(strings.TrimSpace(lines.Text()), -1)
		switch {
		case strings.HasPrefix(lines.Text(), workload+":"):
			in = true
		case in && cells[0] == "TARGET":
			columns = cells
		case in && cells[0] == target:
			for i, name := range columns {
				if name == column && i < len(cells) {
					median, _, _ := strings.Cut(cells[i], " ")
					return strconv.ParseFloat(median, 64)
				}
			}
			return 0, fmt.Errorf("%s has no %q in the results", workload, column)
		}
	}
	return 0, fmt.Errorf("%s is not in the results", workload)
}

// write prints the sum and its parts.
func (n need) write(out io.Writer, t traffic) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(name, v string) { _, _ = fmt.Fprintf(w, "%s\t  %s\t\n", name, v) } // Flush has the error
	row("produce", fmt.Sprintf("%.3f cores", n.produce))
	row("consume", fmt.Sprintf("%.3f cores", n.consume))
	row("new connections", fmt.Sprintf("%.3f cores", n.arrivals))
	row(fmt.Sprintf("in all, with %.0f %% in use", 100*t.share), short(n.cores)+" cores")
	row("memory", fmt.Sprintf("%.0f MiB", n.memory))
	return w.Flush()
}

func newSize() *cobra.Command {
	var t traffic
	cmd := &cobra.Command{
		Use:   "size",
		Short: "Compute the cores and the memory that a kproxy needs, from the committed results",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := t.check(); err != nil {
				return err
			}
			n, err := t.size()
			if err != nil {
				return err
			}
			return n.write(cmd.OutOrStdout(), t)
		},
	}
	f := cmd.Flags()
	f.Float64Var(&t.produce, "produce", 0, "records that clients produce, in MB/s")
	f.Float64Var(&t.consume, "consume", 0, "records that clients consume, in MB/s")
	f.IntVar(&t.frame, "frame", 64*kib, "bytes of records in a typical request or response")
	f.BoolVar(&t.tls, "tls", false, "TLS to the clients")
	f.IntVar(&t.connections, "connections", 0, "connections of clients")
	f.IntVar(&t.active, "active", 0, "those of them that carry data at one time")
	f.Float64Var(&t.arrivals, "arrivals", 0, "new connections each second")
	f.Float64Var(&t.share, "share", 0.5, "part of the processors that may be in use")
	return cmd
}
