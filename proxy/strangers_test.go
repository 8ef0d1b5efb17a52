package proxy_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"kproxy/proxy"
	"kproxy/proxy/config"
)

// Two addresses were wrong one after the other, never at one time: the cluster was not replaced.
func TestWrongAddressesDoNotAddUp(t *testing.T) {
	identityOf(t, true, []string{brokerName(0)}, nil, func(l *identityLab) {
		l.strange(l.all[1])
		l.refuses("bob.test:9101", proxy.OtherCluster)
		l.home(1)
		<-time.After(time.Hour)
		l.strange(l.all[2])
		l.refuses("bob.test:9102", proxy.OtherCluster)
		l.stays(0, 1)
	})
}

// One of three machines behind the only bootstrap name is of another cluster, and each dial takes any of them.
func TestOneOfSeveralMachinesBehindAName(t *testing.T) {
	var isWrong atomic.Bool
	random := rand.New(rand.NewPCG(1, 1))
	const name = "all.vpc.invalid:9092"
	identityOf(t, false, []string{name}, func(conf *proxy.Config, l *identityLab) {
		l.misleads(conf, func(_ context.Context, address string) (string, error) {
			if address == name {
				address = brokerName(0)
				if isWrong.Load() {
					address = brokerName([]int{0, 1, 5}[random.IntN(3)])
				}
			}
			return address, nil
		})
	}, func(l *identityLab) {
		isWrong.Store(true)
		delivered, refused := 0, 0
		for range 1200 {
			if ok, _ := l.ask("bob.test:9092"); ok {
				delivered++
			} else {
				refused++
			}
			<-time.After(3 * time.Second)
		}
		if l.replaced() > 0 || delivered < 2*refused || refused == 0 {
			l.t.Errorf("replaced %d times; %d clients got a response, %d did not", l.replaced(), delivered, refused)
		}
		if n := l.log.count("an address leads to another cluster"); n > 7 {
			l.t.Errorf("%d lines of the log in an hour", n)
		}
	})
}

// The new cluster wants a login that only clients have. The one before did not.
func TestTheNewClusterWantsALogin(t *testing.T) {
	identityOf(t, false, []string{brokerName(0)}, nil, func(l *identityLab) {
		for _, b := range l.all {
			l.strange(b)
			b.set(func(b *livingBroker) { b.closes = true })
		}
		for attempt := 0; l.replaced() == 0; attempt++ {
			if attempt == 3 {
				l.t.Fatal("the map does not follow")
			}
			l.ask("bob.test:9092")
			<-time.After(11 * time.Second)
		}
		l.delivers("bob.test:9092")
	})
}

// A dial to the brokers takes longer than a session waits.
func TestTheClusterIsReplacedBehindSlowDials(t *testing.T) {
	identityOf(t, false, []string{brokerName(0), brokerName(1), brokerName(2)}, func(conf *proxy.Config, l *identityLab) {
		l.misleads(conf, func(ctx context.Context, address string) (string, error) {
			select {
			case <-time.After(2500 * time.Millisecond):
			case <-ctx.Done():
				return "", ctx.Err()
			}
			return address, nil
		})
	}, func(l *identityLab) {
		for _, b := range l.all {
			l.strange(b)
		}
		l.ask("bob.test:9092")
		<-time.After(20 * time.Second)
		l.delivers("bob.test:9092")
	})
}

// Clients that do not ask for brokers send nothing to a known stranger, however long it is there.
func TestNoClientIsLedToAKnownStranger(t *testing.T) {
	for name, closes := range map[string]bool{"kproxy can ask": false, "only clients log in": true} {
		t.Run(name, func(t *testing.T) {
			identityOf(t, closes, []string{brokerName(0)}, nil, func(l *identityLab) {
				l.strange(l.all[2])
				l.refuses("bob.test:9102", proxy.OtherCluster)
				before := l.all[2].servedTest()
				for range 590 {
					if l.beats("bob.test:9102") {
						l.t.Fatal("a client is led there")
					}
					<-time.After(time.Second)
				}
				if n := l.all[2].servedTest() - before; n > 0 {
					l.t.Errorf("the other cluster got %d requests", n)
				}
			})
		})
	}
}

// An address is mended, and clients there do not ask for brokers: kproxy finds it at once if it can ask, and gives up its
// suspicion after ten minutes if it cannot.
func TestAMendedAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		closes bool
		most   int
	}{"kproxy can ask": {false, 0}, "only clients log in": {true, 600}} {
		t.Run(name, func(t *testing.T) {
			identityOf(t, tt.closes, []string{brokerName(0)}, nil, func(l *identityLab) {
				l.strange(l.all[2])
				l.refuses("bob.test:9102", proxy.OtherCluster)
				l.home(2)
				<-time.After(11 * time.Second)
				refused := 0
				for range 700 {
					if !l.beats("bob.test:9102") {
						refused++
					}
					<-time.After(time.Second)
				}
				if refused > tt.most || len(l.proxy.Health().Clusters[0].Strangers) > 0 {
					l.t.Errorf("%d of 700 clients were refused; strangers: %v", refused, l.proxy.Health().Clusters[0].Strangers)
				}
			})
		})
	}
}

// A reload that mends the address ends the warning.
func TestAReloadMendsAnAddress(t *testing.T) {
	identityOf(t, false, []string{brokerName(0)}, nil, func(l *identityLab) {
		l.strange(l.all[2])
		l.refuses("bob.test:9102", proxy.OtherCluster)
		l.reload(l.t, func(c *config.Cluster) { c.Dial = []config.DialRule{{Node: new(int32(2)), To: brokerName(9)}} })
		synctest.Wait()
		if s := l.proxy.Health().Clusters[0].Strangers; len(s) != 0 {
			l.t.Errorf("after the reload: %v", s)
		}
	})
}

// Responses without a cluster's id come from the known stranger, too.
func TestAKnownStrangerWithoutAnID(t *testing.T) {
	for name, req := range map[string]kmsg.Request{"Metadata v1": metadataRequest(1), "FindCoordinator": of(3, kmsg.NewPtrFindCoordinatorRequest())} {
		t.Run(name, func(t *testing.T) {
			identityOf(t, true, []string{brokerName(0)}, nil, func(l *identityLab) {
				l.strange(l.all[2])
				l.all[2].become(0, brokersNamed(5, 6))
				l.refuses("bob.test:9102", proxy.OtherCluster)
				for range 10 {
					<-time.After(10*time.Second + time.Millisecond)
					if delivered, _ := l.try("bob.test:9102", req); delivered {
						l.t.Error("its response is delivered")
					}
				}
				l.learned(l.t, 0, 1, 2)
			})
		})
	}
}

// The node has moved, and one response says so: its clients reach it although the old address is a stranger's.
func TestTheNodeOfAStrangersAddressHasMoved(t *testing.T) {
	identityOf(t, true, []string{brokerName(0)}, nil, func(l *identityLab) {
		b := l.liveBroker(l.t, 7)
		b.become(2, brokersAt(0, 1, 7))
		b.set(func(b *livingBroker) { b.closes = true })
		l.strange(l.all[2])
		l.refuses("bob.test:9102", proxy.OtherCluster)
		l.all[0].become(0, brokersAt(0, 1, 7))
		l.delivers("bob.test:9092") // once
		l.reaches(l.t, "bob.test:9102", brokerName(7))
	})
}

// Two addresses were wrong one after the other, within a minute, or the first one does not respond any more.
func TestWrongAddressesInTurn(t *testing.T) {
	bootstrap := []string{brokerName(0), brokerName(1), brokerName(2)}
	t.Run("only clients log in", func(t *testing.T) {
		identityOf(t, true, bootstrap, nil, func(l *identityLab) {
			l.strange(l.all[1])
			l.refuses("bob.test:9101", proxy.OtherCluster)
			l.home(1)
			<-time.After(time.Minute)
			l.strange(l.all[2])
			l.refuses("bob.test:9102", proxy.OtherCluster)
			l.stays(0)
		})
	})
	t.Run("kproxy can ask", func(t *testing.T) {
		identityOf(t, false, bootstrap, nil, func(l *identityLab) {
			l.strange(l.all[1])
			for range 2 {
				l.refuses("bob.test:9101", proxy.OtherCluster)
				<-time.After(15 * time.Second)
			}
			l.all[1].set(func(b *livingBroker) { b.down = true })
			<-time.After(time.Hour)
			l.strange(l.all[2])
			for range 3 {
				l.refuses("bob.test:9102", proxy.OtherCluster)
				<-time.After(11 * time.Second)
			}
			l.stays(0)
		})
	})
}

// The address of the only node is not most of the nodes, where the bootstrap addresses are right.
func TestTheOnlyNodeIsAStranger(t *testing.T) {
	var isWrong atomic.Bool
	identityOf(t, true, []string{"boot-0.vpc.invalid:9092", "boot-1.vpc.invalid:9092"}, func(conf *proxy.Config, l *identityLab) {
		for _, b := range l.all {
			b.become(b.node, brokersAt(0))
		}
		l.misleads(conf, func(_ context.Context, address string) (string, error) {
			switch {
			case address[:4] == "boot":
				address = brokerName(0)
			case isWrong.Load() && address == brokerName(0):
				address = brokerName(5)
			}
			return address, nil
		})
	}, func(l *identityLab) {
		isWrong.Store(true)
		for range 5 {
			l.refuses("bob.test:9100", proxy.OtherCluster)
			l.delivers("bob.test:9092")
			<-time.After(11 * time.Second)
		}
		if n := l.replaced(); n > 0 {
			l.t.Errorf("the map was replaced, %d times", n)
		}
	}, 0)
}

// At the bootstrap endpoint, only requests for brokers get to a stranger.
func TestRequestsAtTheBootstrapEndpoint(t *testing.T) {
	eachIdentity(t, []int{0, 1, 2}, func(l *identityLab) {
		l.strange(l.all[2])
		for range 6 {
			l.ask("bob.test:9092")
		}
		before := l.all[2].servedTest()
		for range 300 {
			l.beats("bob.test:9092")
			<-time.After(time.Second)
		}
		if n := l.all[2].servedTest() - before; n > 0 {
			l.t.Errorf("the other cluster got %d requests", n)
		}
	})
}

// Brokers that end connections for a moment want no login.
func TestAPollDuringARestart(t *testing.T) {
	identityOf(t, false, []string{brokerName(0), brokerName(1)}, nil, func(l *identityLab) {
		cut := func(closes bool) {
			for _, b := range l.all {
				b.set(func(b *livingBroker) { b.closes = closes })
			}
		}
		l.strange(l.all[2])
		cut(true)
		l.refuses("bob.test:9102", proxy.OtherCluster)
		<-time.After(2 * time.Second)
		cut(false)
		l.home(2)
		<-time.After(15 * time.Second)
		for range 100 {
			if !l.beats("bob.test:9102") {
				l.t.Fatal("a client is refused at the mended address")
			}
			<-time.After(time.Second)
		}
	})
}

// A stranger that names no broker is one, too.
func TestAStrangerWithoutBrokers(t *testing.T) {
	eachIdentity(t, []int{0}, func(l *identityLab) {
		l.strange(l.all[2])
		l.all[2].become(0, nil)
		l.refuses("bob.test:9102", proxy.OtherCluster)
		l.stays(0, 1)
	})
}

// A bootstrap address does not respond: the client of a stranger's address does not wait for it.
func TestAClientDoesNotWaitForAPoll(t *testing.T) {
	var isHole atomic.Bool
	identityOf(t, false, []string{brokerName(0), brokerName(1)}, func(conf *proxy.Config, l *identityLab) {
		l.misleads(conf, func(ctx context.Context, address string) (string, error) {
			if isHole.Load() && address == brokerName(1) {
				<-ctx.Done()
				return "", ctx.Err()
			}
			return address, nil
		})
	}, func(l *identityLab) {
		isHole.Store(true)
		l.strange(l.all[2])
		for range 4 {
			began := time.Now()
			l.refuses("bob.test:9102", proxy.OtherCluster)
			if waited := time.Since(began); waited > time.Second {
				l.t.Errorf("the client has waited for %v", waited)
			}
			<-time.After(41 * time.Second)
		}
	})
}

// Many nodes' addresses are strangers': the bootstrap addresses are not asked for each of them.
func TestQuestionsAboutStrangersAreBounded(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const wrong, bootstraps = 9, 8
		l := &identityLab{t: t}
		l.inMemory()
		addresses := []int{0}
		for i := range wrong {
			addresses = append(addresses, 10+i)
		}
		b := l.liveBroker(t, 0)
		b.become(0, brokersAt(addresses...))
		for _, i := range addresses[1:] {
			l.all = append(l.all, l.liveBroker(t, i))
		}
		conf := l.config()
		conf.Clusters[0].Bootstrap = nil
		for i := range bootstraps {
			conf.Clusters[0].Bootstrap = append(conf.Clusters[0].Bootstrap, fmt.Sprintf("boot-%d.vpc.invalid:9092", i))
		}
		var dials atomic.Int64
		l.misleads(conf, func(_ context.Context, address string) (string, error) {
			dials.Add(1)
			if address[:4] == "boot" {
				address = brokerName(0)
			}
			return address, nil
		})
		l.start(t, conf)
		synctest.Wait() // kproxy has asked
		l.delivers("bob.test:9092")
		for _, b := range l.all {
			l.strange(b)
		}
		for range 7 {
			dials.Store(0)
			for n := range wrong {
				l.ask(fmt.Sprintf("bob.test:%d", 9101+n))
			}
			<-time.After(10*time.Second + time.Millisecond)
			if most := int64(3*wrong + bootstraps); dials.Load() > most {
				t.Errorf("%d dials for %d clients, at most %d are expected", dials.Load(), wrong, most)
			}
		}
	})
}

// A bootstrap address that refuses kproxy's login is not asked each time.
func TestAPollEndsAtARefusedLogin(t *testing.T) {
	needsPlainTCP(t)
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &identityLab{t: t}
		l.inMemory()
		good, bad := newDoor(), newDoor()
		conf := good.logsIn(l.config())
		conf.Clusters[0].SASL.AllowPlaintext = true
		for i := range 3 {
			if l.door = good; i == 1 {
				l.door = bad
			}
			b := l.liveBroker(t, i)
			b.become(int32(i), brokersAt(0, 1, 2))
			l.all = append(l.all, b)
		}
		conf.Clusters[0].Bootstrap = []string{brokerName(0), brokerName(1)}
		var tries atomic.Int64
		l.misleads(conf, func(_ context.Context, address string) (string, error) {
			if address == brokerName(1) {
				tries.Add(1)
			}
			return address, nil
		})
		l.start(t, conf)
		synctest.Wait() // kproxy has asked
		l.delivers("bob.test:9092")
		tries.Store(0)
		bad.wants("changed")
		l.strange(l.all[2])
		for range 360 {
			l.ask("bob.test:9102")
			<-time.After(10*time.Second + time.Millisecond)
		}
		if n := tries.Load(); n == 0 || n > 61 {
			t.Errorf("%d logins in an hour were refused", n)
		}
	})
}
