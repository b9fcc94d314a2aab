package rules

// runs finds runs of at least min bytes of a class.
//
// Keys are far longer than words, so it looks at the last byte that a run
// would need and, if that is not in the class, jumps behind it. In text it
// touches about one byte in ten.
type runs struct {
	class class
	min   int
}

// next returns the first run in data[from:], cut off at from: data[lo:hi].
// It returns -1, -1 if there is none.
func (r *runs) next(data []byte, from int) (lo, hi int) {
	for from+r.min <= len(data) {
		window := data[from : from+r.min]
		i := len(window) - 1
		for i >= 0 && r.class[window[i]] {
			i--
		}
		if i >= 0 {
			from += i + 1
			continue
		}
		hi = from + r.min
		for hi < len(data) && r.class[data[hi]] {
			hi++
		}
		return from, hi
	}
	return -1, -1
}
