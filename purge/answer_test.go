package purge

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
)

// TestAnswers: what is said where all is well, where it is not durable, and where
// nothing was done.
func TestAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newForgetful()
		l := open(t, Options{Path: "j", files: f})
		l.Reclaim(store(t, l))
		said := func(status int, answer []byte) string {
			var v map[string]any
			if err := json.Unmarshal(answer, &v); err != nil {
				t.Fatal(err)
			}
			return strings.TrimSpace(string(answer))
		}
		status, answer := l.PurgeURLs(context.Background(), "https", "a", []string{"/x"}, true)
		if text := said(status, answer); status != 200 || !strings.Contains(text, `"matched":0,"exact":true,"soft":true,"applied":true,"durable":true,"nodes":{"acked":1,"total":1}`) {
			t.Errorf("%d %s", status, text)
		}
		f.mu.Lock()
		f.failAt, f.failFor = f.ops+1, 1
		f.mu.Unlock()
		status, answer = l.PurgeURLs(context.Background(), "https", "a", []string{"/x"}, false)
		if text := said(status, answer); status != 503 || !strings.Contains(text, `"soft":false,"applied":true,"durable":false`) {
			t.Errorf("%d %s", status, text)
		}
		status, answer = l.PurgeURLs(context.Background(), "https", "a", nil, false)
		if text := said(status, answer); status != 400 || !strings.Contains(text, `"applied":false`) {
			t.Errorf("%d %s", status, text)
		}
		_ = l.Close()
		status, answer = l.PurgeURLs(context.Background(), "https", "a", []string{"/x"}, false)
		if text := said(status, answer); status != 503 || !strings.Contains(text, `"applied":false`) {
			t.Errorf("%d %s", status, text)
		}
	})
}
