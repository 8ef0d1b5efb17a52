package columns_test

import (
	"strings"
	"testing"

	"kproxy/internal/columns"
)

func TestWrite(t *testing.T) {
	long := strings.Repeat("x", 40)
	for name, tt := range map[string]struct {
		rows [][]string
		want string
	}{
		"beside each other": {[][]string{{"1", "a", "b"}, {"1001", "é", ""}}, "  NODE  A  B\n  1     a  b\n  1001  é  \n"},
		"one below":         {[][]string{{"1", long, long}}, "  NODE  A\n  1     " + long + "\n    b " + long + "\n"},
		"all below":         {[][]string{{long + long, "a", "b"}}, "  NODE\n  " + long + long + "\n    a a\n    b b\n"},
		"a peer's text":     {[][]string{{"1", "a\n2", "\x1b[2J"}}, "  NODE  A     B\n  1     a\\n2  \\x1b[2J\n"},
		"no rows":           {nil, "  NODE  A  B\n"},
	} {
		table := columns.New("NODE", "A", "B")
		for _, row := range tt.rows {
			table.Line(row...)
		}
		var got strings.Builder
		if err := table.Write(&got); err != nil || got.String() != tt.want {
			t.Errorf("%s: got\n%swant\n%s%v", name, got.String(), tt.want, err)
		}
	}
	if err := (*columns.Table)(nil).Write(nil); err != nil {
		t.Error(err)
	}
}
