package admission

import (
	"log/slog"
	"time"

	"kproxy/internal/logkey"
	"kproxy/internal/logline"
)

const (
	// nearPercent is how much of a limit is used when the log warns of it.
	nearPercent = 80
	// AlarmInterval is the least time between two lines of one kind about one limit,
	// however many connections are refused: a flood of connections must not flood the log.
	AlarmInterval = time.Minute
)

// alarmText has the messages of an alarm.
type alarmText struct {
	near, refused, over string // over "": no line
	fix                 string
}

const notAdmitted = "connections from networks that are not admitted are closed"

var (
	limitText = alarmText{
		near:    "a limit of connections is near",
		refused: "a limit of connections is reached; the newest ones are closed",
		over:    "a limit of connections is no longer near",
		fix:     "find the clients that open them, or raise the limit",
	}
	balancerText = alarmText{
		refused: "connections that do not come from a load balancer are closed",
		fix:     "add its address to proxy_protocol.from, or write mode: optional to let clients in by themselves",
	}
	allowText = alarmText{
		refused: notAdmitted,
		fix:     "add the network to allow, if it is one of your own",
	}
	denyText = alarmText{
		refused: notAdmitted,
		fix:     "take the network out of deny, if it is one of your own",
	}
)

// alarm logs that a limit is near, that connections are refused, and when that is over.
//
//	quiet ──near──▶ raised ──over──▶ quiet
//	  └──────refuse───▲ └─refuse─ each minute, how many
//
// It has no lock of its own. Its lines are queued, so that they are not written under the
// caller's lock.
type alarm struct {
	log  *slog.Logger
	to   *logline.Queue
	key  string // of the limit in the configuration file
	text *alarmText

	raised    bool // a line has reported the limit as near or reached, and none its end
	refused   int  // while it is raised
	warned    time.Time
	announced time.Time // when a line said that connections are refused
}

// near warns that most of the limit is used, once.
func (a *alarm) near(attrs ...slog.Attr) {
	now := time.Now()
	if a.raised || now.Sub(a.warned) < AlarmInterval {
		return
	}
	a.raised, a.warned = true, now
	a.tell(slog.LevelWarn, a.text.near, attrs)
}

// refuse notes that a connection was refused.
func (a *alarm) refuse(attrs ...slog.Attr) {
	a.refused++
	now := time.Now()
	if now.Sub(a.announced) < AlarmInterval {
		return
	}
	a.raised, a.announced = true, now
	a.tell(slog.LevelWarn, a.text.refused, append(attrs,
		slog.Int(logkey.Refused, a.refused),
		slog.String(logkey.Fix, a.text.fix)))
}

// overUnless ends the alarm, unless its cause lasts.
func (a *alarm) overUnless(lasts bool) {
	if lasts || !a.raised {
		return
	}
	if a.text.over != "" {
		a.tell(slog.LevelInfo, a.text.over, []slog.Attr{slog.Int(logkey.Refused, a.refused)})
	}
	a.raised, a.refused = false, 0
}

func (a *alarm) tell(level slog.Level, message string, attrs []slog.Attr) {
	a.to.Add(logline.Line{Log: a.log, Level: level, Message: message, Attrs: append(attrs, slog.String(logkey.Limit, a.key))})
}
