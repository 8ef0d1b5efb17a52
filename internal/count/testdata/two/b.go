package two

type hidden[T any] struct{ value T }

func (h hidden[T]) get() T { return h.value }

func clamp(n int) int {
	if n < 0 {
		return 0
	}
	return n
}
