package timeline

// A recent is a map that forgets what was not used for long, in bounded memory.
type recent[T any] struct {
	most     int // in each of the two
	now, old map[string]T
}

func newRecent[T any](most int) *recent[T] { return &recent[T]{most: most, now: map[string]T{}} }

func (r *recent[T]) get(key string) (v T, ok bool) {
	if v, ok = r.now[key]; !ok {
		if v, ok = r.old[key]; ok {
			r.put(key, v)
		}
	}
	return v, ok
}

func (r *recent[T]) put(key string, v T) {
	if len(r.now) >= r.most {
		r.old, r.now = r.now, make(map[string]T)
	}
	r.now[key] = v
}

// of returns the value of key, made where there is none.
func (r *recent[T]) of(key string, make func() T) T {
	v, ok := r.get(key)
	if !ok {
		v = make()
		r.put(key, v)
	}
	return v
}
