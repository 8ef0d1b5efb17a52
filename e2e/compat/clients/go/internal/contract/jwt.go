package contract

import (
	"encoding/base64"
	"encoding/json"
	"time"
)

// UnsecuredJWT is a token without a signature, which a broker accepts whose OAUTHBEARER
// has no issuer configured.
func UnsecuredJWT(subject string) (string, error) {
	encode := base64.RawURLEncoding.EncodeToString
	now := time.Now()
	claims, err := json.Marshal(map[string]any{
		"sub": subject,
		"iat": float64(now.Add(-time.Minute).Unix()),
		"exp": float64(now.Add(time.Hour).Unix()),
	})
	if err != nil {
		return "", err
	}
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(claims) + ".", nil
}
