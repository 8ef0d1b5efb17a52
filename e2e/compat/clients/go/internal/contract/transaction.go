package contract

import (
	"context"
	"fmt"
)

// A transaction is ten records, and every third one is aborted.
const (
	perTransaction = 10
	abortEvery     = 3
)

// Record is a key and a value.
type Record struct{ Key, Value []byte }

// Transactions sends the records in transactions. An aborted one's records are
// gone: acked are the others.
func Transactions(o *Options, r *Result, run func(records []Record, commit bool) error) error {
	committed, aborted := 0, 0
	for n := 0; n < o.Count; {
		var records []Record
		for ; len(records) < perTransaction && n < o.Count; n++ {
			records = append(records, Record{Key(n), Value(o.Prefix, n, o.Size)})
		}
		commit := (committed+aborted+1)%abortEvery != 0
		r.Sent(len(records))
		if err := run(records, commit); err != nil {
			return fmt.Errorf("transaction %d (commit: %v): %w", committed+aborted+1, commit, err)
		}
		if commit {
			committed++
			r.Acked(len(records))
		} else {
			aborted++
		}
		r.Detail("committed", committed)
		r.Detail("aborted", aborted)
	}
	return nil
}

// Transform runs transactions that read from one topic and write to another,
// until count records are over. one copies at most limit records and says how
// many it copied and whether they are committed; of an aborted transaction it
// reads the same records again.
func Transform(ctx context.Context, o *Options, r *Result,
	one func(limit int, commit bool) (copied int, committed bool, err error),
) error {
	committed, aborted := 0, 0
	for over := 0; over < o.Count; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("%d of %d records copied: %w", over, o.Count, err)
		}
		commit := (committed+aborted+1)%abortEvery != 0
		copied, done, err := one(min(perTransaction, o.Count-over), commit)
		if err != nil {
			return fmt.Errorf("transaction %d (commit: %v): %w", committed+aborted+1, commit, err)
		}
		r.Sent(copied)
		switch {
		case copied == 0: // there was nothing to copy, and no transaction
		case done:
			committed++
			over += copied
			r.Acked(copied)
		default:
			aborted++
		}
		r.Detail("committed", committed)
		r.Detail("aborted", aborted)
	}
	return nil
}

// Ours says whether a record is one of prefix's.
func Ours(prefix string, value []byte) bool {
	_, ours := number(prefix, value)
	return ours
}
