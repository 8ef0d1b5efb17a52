package auth_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"kproxy/internal/auth"
)

const clientSecret = "s3cret/ with + and ="

// byToken is a login with tokens of an endpoint with this handler.
func byToken(t *testing.T, response http.HandlerFunc) *auth.Method {
	t.Helper()
	endpoint := httptest.NewServer(response)
	t.Cleanup(endpoint.Close)
	return byTokenOf(t, endpoint.URL+"/token")
}

func byTokenOf(t *testing.T, tokenURL string) *auth.Method {
	t.Helper()
	m, err := auth.New(&auth.SASL{Mechanism: auth.OAuthBearer, OAuth: auth.OAuth{
		TokenURL: tokenURL, ClientID: "kproxy", ClientSecret: auth.Secret{Text: clientSecret},
	}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func responseJSON(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// anyToken is a broker that takes every token, and keeps the last.
func anyToken(last *string) *broker {
	return &broker{versions: [2]int16{0, 2}, mechanism: auth.OAuthBearer, tokens: func(token []byte) ([]byte, error) {
		*last = string(token)
		return nil, nil
	}}
}

// An endpoint's text is short in the log, on one line, and without the secret, in
// whatever form the endpoint repeats it.
func TestTokenEndpointThatRepeatsTheSecret(t *testing.T) {
	t.Parallel()
	m := byToken(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		id, secret, _ := r.BasicAuth()
		text := fmt.Sprintf("you sent %s and %s: %s and\nlevel=ERROR %s", r.Header.Get("Authorization"), secret, body, clientSecret)
		responseJSON(w, http.StatusUnauthorized, fmt.Sprintf(`{"error":"invalid_client","error_description":%q}`, text+id+strings.Repeat("x", 100<<10)))
	})
	_, err := m.Begin(t.Context(), "b:9092")
	if err == nil || !strings.Contains(err.Error(), "invalid_client") {
		t.Fatalf("got %v", err)
	}
	if text := err.Error(); len(text) > 600 || strings.Contains(text, "\n") || strings.Contains(text, "s3cret") || strings.Contains(text, "czNjcmV0") {
		t.Errorf("got %d bytes: %s", len(text), text)
	}
}

// The query of the endpoint's URL may hold a key. It is in no error.
func TestTokenEndpointWithAKey(t *testing.T) {
	t.Parallel()
	refuses := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		responseJSON(w, http.StatusUnauthorized, `{"error":"invalid_client"}`)
	}))
	defer refuses.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	for _, at := range []string{refuses.URL, gone.URL} {
		m := byTokenOf(t, at+"/token?key=hidden")
		_, err := m.Begin(t.Context(), "b:9092")
		if err == nil || strings.Contains(err.Error(), "hidden") || !strings.Contains(err.Error(), at+"/token?…") {
			t.Errorf("got %v", err)
		}
	}
}

// The connection to the endpoint ends with the response. net/http writes to stderr whatever
// comes on one that is kept.
func TestTokenEndpointConnectionEnds(t *testing.T) {
	t.Parallel()
	var kept atomic.Int64
	m := byToken(t, func(w http.ResponseWriter, r *http.Request) {
		if !r.Close {
			kept.Add(1)
		}
		responseJSON(w, http.StatusOK, `{"access_token":"t1","expires_in":3600}`)
	})
	if _, err := m.Begin(t.Context(), "b:9092"); err != nil || kept.Load() != 0 {
		t.Errorf("%d connections are kept; %v", kept.Load(), err)
	}
}

// A redirect takes the secret nowhere.
func TestTokenEndpointThatRedirects(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		elsewhere.Add(1)
		responseJSON(w, http.StatusOK, `{"access_token":"t1","expires_in":60}`)
	}))
	defer other.Close()
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		m := byToken(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/new?client_secret="+"hidden", status)
		})
		_, err := m.Begin(t.Context(), "b:9092")
		if err == nil || !strings.Contains(err.Error(), other.URL+"/new") || !strings.Contains(err.Error(), "token_url") || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%d: got %v, want where it leads", status, err)
		}
	}
	if elsewhere.Load() > 0 {
		t.Error("a redirect was followed")
	}
}

// Endpoints need not say how long a token lives (RFC 6749, 5.1). Such a token is reused,
// too.
func TestTokensWithoutALife(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`{"access_token":"t1"}`, `{"access_token":"t1","expires_in":0}`, `{"access_token":"t1","expires_in":-5}`} {
		var asked atomic.Int64
		m := byToken(t, func(w http.ResponseWriter, _ *http.Request) {
			asked.Add(1)
			responseJSON(w, http.StatusOK, text)
		})
		for range 20 {
			var token string
			if _, err := logInBy(t, m, anyToken(&token)); err != nil || !strings.Contains(token, "t1") {
				t.Errorf("%s: got %q, %v", text, token, err)
			}
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("%s: the endpoint was asked %d times, want 1", text, n)
		}
	}
}

// A token that brokers refuse is not used again, and the endpoint is asked in the style
// that it is known to accept.
func TestTokenThatIsRefused(t *testing.T) {
	t.Parallel()
	var asked, given atomic.Int64
	m := byToken(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if _, _, ok := r.BasicAuth(); ok {
			responseJSON(w, http.StatusUnauthorized, `{"error":"invalid_client"}`)
			return
		}
		responseJSON(w, http.StatusOK, fmt.Sprintf(`{"access_token":"t%d","expires_in":3600}`, given.Add(1)))
	})
	b := &broker{versions: [2]int16{0, 2}, mechanism: auth.OAuthBearer, tokens: bearerServer("n,,\x01auth=Bearer t2\x01\x01")}
	_, err := logInBy(t, m, b)
	refused(t, err, "invalid_token")
	if _, err := logInBy(t, m, b); err != nil {
		t.Errorf("with the next token: %v", err)
	}
	for range 10 { // and not as often as a broker refuses
		b.tokens = bearerServer("another")
		_, err := logInBy(t, m, b)
		refused(t, err, "invalid_token")
	}
	if n := asked.Load(); n != 3 {
		t.Errorf("the endpoint was asked %d times, want 3: in both ways, and in the right one", n)
	}
}
