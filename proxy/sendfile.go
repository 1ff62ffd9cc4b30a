package proxy

import "edge/cache/storage"

// Content that a store has in files, and has checked, goes to a client from there,
// where both sides can: the bytes then never pass through us. Everything else
// (TLS, HTTP/2, memory, what was not yet checked) is read and written.

// files returns rd, and the client, as what can give and take files; nil where
// one of them is not or the content's end is not announced.
func (x *exchange) files(rd storage.Reader) (storage.FileReader, FileSender) {
	from, ok := rd.(storage.FileReader)
	if !ok || x.out.Length < 0 {
		return nil, nil
	}
	to, ok := x.client.(FileSender)
	if !ok || !to.CanSendFile() {
		return nil, nil
	}
	return from, to
}

// fileNext reports whether what rd brings next can go from a file.
func (x *exchange) fileNext(rd storage.Reader) bool {
	from, _ := x.files(rd)
	if from == nil {
		return false
	}
	_, ok := from.NextFile()
	return ok
}

// sendFiles sends what rd brings, for as long as it can go from files. What a
// file did not give after all is left to rd's Next.
func (x *exchange) sendFiles(rd storage.Reader) error {
	from, to := x.files(rd)
	if from == nil {
		return nil
	}
	for {
		at, ok := from.NextFile()
		if !ok {
			return nil
		}
		n, err := to.SendFile(at.FD, at.Offset, at.Length)
		x.bytes += n
		if err != nil {
			return err
		}
		from.Took(n, n < at.Length)
	}
}
