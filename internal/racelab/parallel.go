package racelab

import (
	"flag"
	"runtime"
	"strconv"
)

// WaitTogether has more parallel tests run at once than there are processors, unless
// -parallel is set. It is for the TestMain of packages whose tests mostly wait. Under the
// race detector it does nothing, because there they mostly compute.
func WaitTogether() {
	flag.Parse()
	isSet := false
	flag.Visit(func(f *flag.Flag) { isSet = isSet || f.Name == "test.parallel" })
	if !isSet && !Enabled {
		_ = flag.Set("test.parallel", strconv.Itoa(8*runtime.GOMAXPROCS(0)))
	}
}
