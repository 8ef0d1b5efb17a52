//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// onReaders is the address of a client that may only read.
func (t *trial) onReaders() []string { return []string{"--bootstrap", t.readers, "--topic", t.name} }

// readOnlyConsume reads another client's records. Clients infer a broker's features from
// APIs that a reader never calls.
func readOnlyConsume(ctx context.Context, t *trial) error {
	if err := t.fill(ctx, t.name, 3, records, 0); err != nil {
		return err
	}
	return t.consume(ctx, t.onReaders(), records)
}

// readOnlyProduce wants the client to be refused, with the reason: it is not authorized.
// A direct client is not refused.
func readOnlyProduce(args ...string) func(context.Context, *trial) error {
	return func(ctx context.Context, t *trial) error {
		if err := t.newTopic(ctx, 1, nil); err != nil {
			return err
		}
		a, err := t.run(ctx, "produce", slices.Concat(t.onReaders(), []string{"--prefix", t.name, "--count", "5", "--timeout", "30"}, args)...)
		switch {
		case !t.proxied || errors.As(err, new(notOfferedError)):
			return err
		case err == nil:
			return errors.New("its records were taken")
		case a.Error == "":
			return err
		}
		shown := showsRefusal(t.client.name, a)
		if shown == "" {
			return fmt.Errorf("it does not say that it is not authorized: %w", err)
		}
		t.note("%s", shown)
		return t.nothingWritten(ctx)
	}
}

// nothingWritten is an error if the trial's topic has a record.
func (t *trial) nothingWritten(ctx context.Context) error {
	ends, err := t.cluster.Admin.ListEndOffsets(ctx, t.name)
	if err != nil {
		return err
	}
	end, ok := ends.Lookup(t.name, 0)
	if !ok || end.Err != nil || end.Offset != 0 {
		return fmt.Errorf("the topic ends at %+v", end)
	}
	return nil
}

// reports is the output of each library about the outcome of a record.
var reports = map[string]string{
	"kcat":            "the delivery report",
	"confluent-kafka": "the delivery report",
	"franz":           "the record's promise",
	"sarama":          "the channel of errors",
	"segmentio":       "the writer's completion",
	"kafka-python":    "the record's future",
	"aiokafka":        "the record's future",
	"kafkajs":         "the promise of send",
	"java":            "the record's callback",
}

// refusal matches how libraries write the protocol's authorization errors:
// TOPIC_AUTHORIZATION_FAILED, TopicAuthorizationFailedError, "Not authorized
// to access topics", "Cluster authorization failed".
var refusal = regexp.MustCompile(`(?i)(topic|cluster|transactional.?id|access|send).{0,40}authori[sz]|authori[sz]ed to (access|send)`)

// showsRefusal returns the text in which the client shows that it is not authorized; ""
// if it does not.
func showsRefusal(client string, a response) string {
	var places []string
	if said := fmt.Sprint(a.Details["error_callback"]); refusal.MatchString(said) {
		place := "the error callback"
		if strings.Contains(strings.ToLower(said), "fatal") {
			place = "the error callback, fatal"
		}
		places = append(places, place+": "+oneLine(said))
	}
	if said := fmt.Sprint(a.Details["raised_by_poll"]); refusal.MatchString(said) {
		places = append(places, "poll raises it, fatal: "+oneLine(said))
	}
	if refusal.MatchString(a.Error) {
		place, _, _ := strings.Cut(client, " ")
		report := reports[place]
		if _, ofRecords := a.Details["errored"]; !ofRecords {
			report = "the producer itself"
		}
		places = append(places, report+": "+oneLine(strings.TrimSpace(strings.TrimPrefix(afterRefused(a.Error), ":"))))
	}
	return strings.Join(places, "; ")
}

// afterRefused is the text after "N records were refused".
func afterRefused(text string) string {
	if _, rest, ok := strings.Cut(text, "records were refused"); ok {
		return rest
	}
	return text
}
