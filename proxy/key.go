package proxy

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"edge/cache/lock"
	"edge/cache/storage"
	"edge/message"
)

// KeyRules are a route's changes to the key and, because what the key leaves
// out must not reach the origin, to the forwarded target.
type KeyRules struct {
	// QueryAllow, if not nil, keeps only these parameters; QueryDrop removes.
	// A trailing "*" matches any ending.
	QueryAllow, QueryDrop []string
	// QuerySort sorts parameters by name, keeping the order of equal ones.
	QuerySort bool
	// Fields and Cookies add request fields and cookies to the key.
	Fields, Cookies [][]byte
}

func (k *KeyRules) changesQuery() bool {
	return k.QueryAllow != nil || len(k.QueryDrop) > 0 || k.QuerySort
}

// normalise applies the query rules to the request's target, using buf.
func (k *KeyRules) normalise(req *message.Request, buf []byte) []byte {
	query, ok := req.Query()
	if !ok || !k.changesQuery() {
		return buf
	}
	params := bytes.Split(query, []byte{'&'})
	params = slices.DeleteFunc(params, func(p []byte) bool {
		name, _, _ := bytes.Cut(p, []byte{'='})
		return matchAny(k.QueryDrop, name) || k.QueryAllow != nil && !matchAny(k.QueryAllow, name)
	})
	if k.QuerySort {
		slices.SortStableFunc(params, func(a, b []byte) int {
			an, _, _ := bytes.Cut(a, []byte{'='})
			bn, _, _ := bytes.Cut(b, []byte{'='})
			return bytes.Compare(an, bn)
		})
	}
	buf = append(buf[:0], req.Path()...)
	for i, p := range params {
		sep := byte('&')
		if i == 0 {
			sep = '?'
		}
		buf = append(append(buf, sep), p...)
	}
	req.Target = buf
	return buf
}

func matchAny(patterns []string, name []byte) bool {
	for _, p := range patterns {
		if n := len(p) - 1; n >= 0 && p[n] == '*' {
			if len(name) >= n && string(name[:n]) == p[:n] {
				return true
			}
		} else if string(name) == p {
			return true
		}
	}
	return false
}

// primaryKey returns the key of a request under a route, using buf. Every
// part is preceded by its length, so that no two lists of parts are alike.
func primaryKey(r *Route, req *message.Request, buf []byte) (storage.Key, []byte) {
	buf = appendURI(buf[:0], req.Scheme, req.Authority, req.Target)
	buf = appendExtras(buf, r, req)
	return digest(buf), buf
}

func digest(buf []byte) storage.Key {
	sum := sha256.Sum256(buf)
	return storage.Key(sum[:16])
}

func appendURI(buf []byte, scheme string, authority, target []byte) []byte {
	buf = appendPart(buf, scheme)
	buf = appendPart(buf, authority)
	return appendPart(buf, target)
}

// appendExtras appends what the route adds to the key.
func appendExtras(buf []byte, r *Route, req *message.Request) []byte {
	for _, name := range r.Key.Fields {
		buf = appendPart(buf, name)
		buf = appendField(buf, &req.Fields, name)
	}
	for _, name := range r.Key.Cookies {
		buf = appendPart(buf, name)
		buf = appendPart(buf, cookie(&req.Fields, name))
	}
	if r.KeepForwarded {
		for _, id := range impliedFields {
			buf = appendField(buf, &req.Fields, []byte(id.String()))
		}
	}
	return buf
}

func appendPart[T string | []byte](buf []byte, part T) []byte {
	buf = binary.BigEndian.AppendUint32(buf, uint32(len(part)))
	return append(buf, part...)
}

func appendNumber(buf []byte, n uint64) []byte { return binary.BigEndian.AppendUint64(buf, n) }

// appendField appends the number of lines of a field and each value.
func appendField(buf []byte, f *message.Fields, name []byte) []byte {
	at := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	n := uint32(0)
	for i := f.NextName(name, 0); i >= 0; i = f.NextName(name, i+1) {
		buf = appendPart(buf, f.All()[i].Value)
		n++
	}
	binary.BigEndian.PutUint32(buf[at:], n)
	return buf
}

// cookie returns the value of the first cookie of a name, nil without one.
func cookie(f *message.Fields, name []byte) []byte {
	for i := f.Next(message.FieldCookie, 0); i >= 0; i = f.Next(message.FieldCookie, i+1) {
		for pair := range bytes.SplitSeq(f.All()[i].Value, []byte{';'}) {
			if n, v, _ := bytes.Cut(bytes.TrimSpace(pair), []byte{'='}); bytes.Equal(n, name) {
				return v
			}
		}
	}
	return nil
}

// runKey names the lock of one chunk of a variant of a key.
func runKey(key storage.Key, variant []byte, chunk int64) lock.Key {
	h := sha256.New()
	h.Write(key[:])
	h.Write(appendPart(nil, variant))
	h.Write(appendNumber(nil, uint64(chunk)))
	return lock.Key(h.Sum(nil)[:16])
}

// lockKey names the lock: the key alone until Vary is known, then with the
// variant, so that variants do not wait for one another.
func lockKey(key storage.Key, variant []byte) lock.Key {
	if len(variant) == 0 {
		return lock.Key(key)
	}
	h := sha256.New()
	h.Write(key[:])
	h.Write(variant)
	return lock.Key(h.Sum(nil)[:16])
}
