package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"edge/cache/statemachine"
	"edge/message"
)

// tunnelBuffer is how much of a tunnelled direction is held, in bytes.
const tunnelBuffer = 32 << 10

// defaultTunnelIdle ends a tunnel through which nothing goes.
const defaultTunnelIdle = 10 * time.Minute

// tunnel passes a 101 on and then bytes both ways until either side closes.
// What either side sent early, behind its head, goes first: nothing is lost.
func (x *exchange) tunnel() statemachine.Delivery {
	up := x.upstream
	upgrade := x.resp.Fields.Value(message.FieldUpgrade)
	var fields message.Fields
	fields.CopyFrom(&x.resp.Fields)
	statemachine.StripHopByHop(&fields, false)
	fields.Delete(message.FieldContentLength)
	fields.AddKnown(message.FieldConnection, []byte("upgrade"))
	fields.AddKnown(message.FieldUpgrade, upgrade)
	x.out = message.Outgoing{Status: 101, Reason: x.resp.Reason, Fields: &fields, Extra: x.extra(nil, x.resp.Version),
		NoBody: true, Length: message.LengthUnknown}
	if x.sendHead() != nil || x.client.Flush() != nil {
		return statemachine.ClientGone
	}
	x.hijacked = true
	client, early := x.client.Hijack()
	origin, answered := up.h.Hijack()
	x.upstream = nil
	up.owner.leave(up)
	x.p.tunnels.Add(1)
	defer x.p.tunnels.Add(-1)
	defer up.origin.Pool.Discard(up.conn)
	defer client.Close()

	idle := x.route.TunnelIdle
	if idle <= 0 {
		idle = defaultTunnelIdle
	}
	t := &tunnelled{proxy: x.p, idle: idle}
	t.touch()
	stop := t.closeAtShutdown(client, origin)
	defer stop()
	done := make(chan struct{})
	go func() { // ends when the origin's side ends, or by the deadline set below
		defer close(done)
		x.bytes = t.copy(client, origin, answered)
	}()
	t.copy(origin, client, early)
	<-done
	return complete
}

// tunnelled is what both directions share.
type tunnelled struct {
	proxy *Proxy
	idle  time.Duration
	last  atomic.Int64 // when anything last went either way, in Unix nanoseconds
}

func (t *tunnelled) touch() { t.last.Store(time.Now().UnixNano()) }

// deadline is when the tunnel has been idle for too long.
func (t *tunnelled) deadline() time.Time { return time.Unix(0, t.last.Load()).Add(t.idle) }

// closeAtShutdown closes both sides when the proxy ends.
func (t *tunnelled) closeAtShutdown(a, b net.Conn) (stop func() bool) {
	return context.AfterFunc(t.proxy.ctx, func() {
		_ = a.Close()
		_ = b.Close()
	})
}

// copy sends early and then everything src brings to dst, then half-closes
// dst. After an error, or where dst cannot half-close, it closes both: the
// other direction then ends too.
func (t *tunnelled) copy(dst, src net.Conn, early []byte) (n int64) {
	buf := make([]byte, tunnelBuffer)
	err := t.write(dst, early)
	n = int64(len(early))
	for err == nil {
		_ = src.SetReadDeadline(t.deadline())
		var m int
		m, err = src.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(t.deadline()) {
			err = nil // the other direction is in use
		}
		if m > 0 {
			t.touch()
			n += int64(m)
			if werr := t.write(dst, buf[:m]); werr != nil {
				err = werr
			}
		}
	}
	if half, ok := dst.(interface{ CloseWrite() error }); ok && errors.Is(err, io.EOF) && half.CloseWrite() == nil {
		return n
	}
	_ = dst.Close()
	_ = src.Close()
	return n
}

func (t *tunnelled) write(dst net.Conn, p []byte) error {
	if len(p) == 0 {
		return nil
	}
	_ = dst.SetWriteDeadline(time.Now().Add(t.idle))
	_, err := dst.Write(p)
	return err
}
