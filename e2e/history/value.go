package history

import (
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
)

// Sum is the checksum of a value: CRC-32C.
func Sum(value []byte) uint32 { return crc32.Checksum(value, castagnoli) }

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Value is the value of the record with this number, of at least size bytes: the
// checksum of the rest in 8 hexadecimal digits, the number, and padding that differs from
// record to record. "1a2b3c4d 42 42.42.42."
func Value(number int64, size int) []byte {
	rest := fmt.Sprintf(" %d ", number)
	unit := strconv.FormatInt(number, 10) + "."
	if missing := size - len(rest) - 8; missing > 0 {
		rest += strings.Repeat(unit, missing/len(unit)+1)
	}
	return fmt.Appendf(nil, "%08x%s", Sum([]byte(rest)), rest)
}

// NumberOf reads a value's number. It is NoNumber if the value is not one of Value's,
// or was damaged.
func NumberOf(value []byte) int64 {
	if len(value) < 10 || value[8] != ' ' {
		return NoNumber
	}
	sum, err := strconv.ParseUint(string(value[:8]), 16, 32)
	if err != nil || uint32(sum) != Sum(value[8:]) {
		return NoNumber
	}
	digits, _, _ := strings.Cut(string(value[9:min(len(value), 40)]), " ")
	number, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || number < 0 {
		return NoNumber
	}
	return number
}
