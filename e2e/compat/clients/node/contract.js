'use strict'
// The part of a Node client program that does not depend on its library: its flags, its
// one JSON object, its exit codes, and the works that are the same for each library once
// it can send a record and read one. ../README.md states the contract.

const fs = require('fs')
const { parseArgs } = require('util')

const DONE = 0, FAILED = 1, USAGE = 2, NOT_OFFERED = 3

const GRACE = 5000 // the time for a work to end after its timeout
const SURPLUS = 1000 // how long a consumer waits for records that should not come
const JOIN_PAUSE = 500 // a rebalance is to end before churn begins another
const SETTLE = 10000 // brokers learn of a change one after the other
const PER_TRANSACTION = 10, ABORT_EVERY = 3

class NotOffered extends Error {}

const sleep = ms => new Promise(resolve => setTimeout(resolve, Math.max(0, ms)))

const strings = {
  bootstrap: '', 'broker-version': '', topic: '', group: '', from: '', 'transactional-id': '', prefix: 'r',
  acks: 'all', compression: 'none', isolation: 'uncommitted', rack: '', protocol: 'classic', 'static-member': '',
  security: 'PLAINTEXT', mechanism: 'PLAIN', username: '', password: '',
}
const numbers = { timeout: 60, duration: 10, count: 100, first: 0, size: 0, rate: 0, members: 1, 'max-bytes': 0, replication: 1 }
const switches = ['idempotent', 'churn', 'handshake-v0']
const allowed = {
  acks: ['0', '1', 'all'], compression: ['none', 'gzip', 'snappy', 'lz4', 'zstd'],
  isolation: ['committed', 'uncommitted'], protocol: ['classic', 'consumer', 'share'],
  security: ['PLAINTEXT', 'SASL_PLAINTEXT'], mechanism: ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512', 'OAUTHBEARER'],
}
const needs = {
  version: [], token: ['bootstrap'], consume: ['bootstrap', 'topic', 'group'], session: ['bootstrap', 'topic', 'group'],
}

function parse(argv) {
  if (!argv.length) throw new Error('no work named')
  const options = {}
  for (const name of [...Object.keys(strings), ...Object.keys(numbers)]) options[name] = { type: 'string' }
  for (const name of switches) options[name] = { type: 'boolean' }
  const { values } = parseArgs({ args: argv.slice(1), options })
  const o = { work: argv[0], ...strings, ...values }
  for (const [name, usual] of Object.entries(numbers)) {
    o[name] = name in values ? Number(values[name]) : usual
    if (Number.isNaN(o[name])) throw new Error(`--${name} ${values[name]}: want a number`)
  }
  for (const [name, choices] of Object.entries(allowed)) {
    if (!choices.includes(o[name])) throw new Error(`--${name} ${o[name]}: want one of ${choices}`)
  }
  for (const name of (needs[o.work] || ['bootstrap', 'topic']).concat(o.from ? ['group'] : [])) {
    if (!o[name]) throw new Error(`${o.work} needs --${name}`)
  }
  o['transactional-id'] = o['transactional-id'] || o.prefix
  o.sasl = o.security === 'SASL_PLAINTEXT'
  o.limit = 1000 * (o.timeout + (['session', 'tail'].includes(o.work) ? o.duration : 0))
  o.end = Date.now() + o.limit
  o.left = () => Math.max(1, o.end - Date.now())
  o.over = () => Date.now() >= o.end
  return o
}

// Result is the JSON object.
class Result {
  constructor(client, version, work) {
    this.fields = {
      client, version, work, sent: 0, acked: 0, read: 0, distinct: 0, duplicates: 0, addresses: [], details: {},
    }
    this.seen = new Set()
  }

  detail(key, value) { this.fields.details[key] = value }

  // read counts a record that was read, if it is one of prefix's.
  read(prefix, value) {
    const n = number(prefix, value)
    if (n < 0) return
    this.fields.read++
    if (this.seen.has(n)) this.fields.duplicates++
    this.seen.add(n)
    this.fields.distinct = this.seen.size
  }

  // finish prints the object and ends the program, whatever it still waits for.
  finish(code, error) {
    if (error) this.fields[code === NOT_OFFERED ? 'not_offered' : 'error'] = why(error)
    fs.writeSync(1, JSON.stringify(this.fields) + '\n')
    process.exit(code)
  }
}

function why(error) {
  const cause = error && error.cause && error.cause.message
  const message = (error && error.message) || String(error)
  return cause && !message.includes(cause) ? `${message}: ${cause}` : message
}

const digits = n => String(n).padStart(8, '0')

function record(o, n) {
  return { key: digits(n), value: `${o.prefix}-${digits(n)}`.padEnd(o.size, '.') }
}

// number says which of prefix's records this is, or -1.
function number(prefix, value) {
  const start = `${prefix}-`
  const text = value ? value.subarray(0, start.length + 8).toString() : ''
  const rest = text.slice(start.length)
  return text.startsWith(start) && /^\d{8}$/.test(rest) ? Number(rest) : -1
}

// pacer spaces calls evenly, and catches up when it is late.
function pacer(rate) {
  let next = Date.now()
  return async () => {
    if (!rate) return
    await sleep(next - Date.now())
    next += 1000 / rate
  }
}

// Load is one producer's records.
class Load {
  static async start(client, o, r) {
    const load = new Load()
    Object.assign(load, { o, r, errored: 0, first: null, producer: await client.producer(o) })
    return load
  }

  send(n) {
    this.r.fields.sent++
    this.producer.send(record(this.o, n), error => {
      if (!error) {
        this.r.fields.acked++
        return
      }
      this.errored++
      this.first = this.first || error
    })
  }

  async sendFor(rate) {
    const pace = pacer(rate), end = Date.now() + 1000 * this.o.duration
    for (let n = 0; Date.now() < end; n++) {
      await pace()
      this.send(n)
    }
  }

  refused() {
    if (this.errored) throw new Error(`${this.errored} records were refused: ${why(this.first)}`)
  }
}

async function produce(client, o, r) {
  const load = await Load.start(client, o, r), pace = pacer(o.rate)
  for (let n = o.first; n < o.first + o.count; n++) {
    await pace()
    load.send(n)
    await load.producer.room()
  }
  await load.producer.close()
  if (load.errored) r.detail('errored', load.errored)
  load.refused()
}

// tail sends for a while, whatever happens to the cluster. It reports refused records;
// they are not its own failure.
async function tail(client, o, r) {
  const load = await Load.start(client, o, r)
  await load.sendFor(o.rate || 100)
  const flush = Date.now()
  await load.producer.close()
  r.detail('flush_ms', Date.now() - flush)
  r.detail('errored', load.errored)
  if (load.first) r.detail('first_error', why(load.first))
}

// session sends a record every 100 ms and reads them back in the same process,
// over logins that the broker wants renewed.
async function session(client, o, r) {
  const load = await Load.start(client, o, r), group = new Group(client, o, r)
  await group.join()
  await load.sendFor(o.rate || 10)
  await load.producer.close()
  r.detail('failures', load.errored)
  await group.waitFor(r.fields.acked)
  await group.leaveAll()
  load.refused()
}

// Group is the members of one group, in one process.
class Group {
  constructor(client, o, r) {
    Object.assign(this, { client, o, r, members: [], broken: null, rejoins: 0 })
  }

  async start() {
    return this.client.member(this.o, value => this.r.read(this.o.prefix, value), error => { this.broken = error })
  }

  async join() { this.members.push(await this.start()) }

  async waitFor(count) {
    while (this.r.fields.distinct < count) {
      if (this.broken) throw new Error(`a member: ${why(this.broken)}`)
      if (this.o.over()) throw new Error(`${this.r.fields.distinct} of ${count} records read in time`)
      await sleep(20)
    }
  }

  async replace(i) {
    await this.members[i].leave()
    this.members[i] = await this.start()
    this.rejoins++
    await sleep(JOIN_PAUSE)
  }

  async leaveAll() { for (const member of this.members) await member.leave() }
}

async function consume(client, o, r) {
  const group = new Group(client, o, r), members = Math.max(1, o.members)
  for (let i = 0; i < members; i++) await group.join()
  try {
    for (let i = 0; o.churn && i < members; i++) { // each is replaced once, spread over the records
      await group.waitFor(Math.floor(o.count * (i + 1) / (members + 1)))
      await group.replace(i)
    }
    await group.waitFor(o.count)
    await sleep(SURPLUS)
  } finally {
    r.detail('rejoins', group.rejoins)
    await group.leaveAll()
  }
  if (group.broken) throw new Error(`a member: ${why(group.broken)}`)
}

// Outcomes counts transactions, and says which is to be aborted.
class Outcomes {
  constructor(r) { Object.assign(this, { r, committed: 0, aborted: 0 }) }

  nextCommits() { return (this.committed + this.aborted + 1) % ABORT_EVERY !== 0 }

  add(commit, records) {
    this.r.fields.sent += records
    if (commit) this.r.fields.acked += records
    this[commit ? 'committed' : 'aborted']++
    this.r.detail('committed', this.committed)
    this.r.detail('aborted', this.aborted)
  }
}

// transactions sends the records in transactions: run(records, commit). An
// aborted one's records are gone: acked are the others.
async function transactions(o, r, run) {
  const outcomes = new Outcomes(r)
  for (let n = 0; n < o.count;) {
    const records = []
    for (; records.length < PER_TRANSACTION && n < o.count; n++) records.push(record(o, n))
    const commit = outcomes.nextCommits()
    await run(records, commit)
    outcomes.add(commit, records.length)
  }
}

// Steps are a work's parts, each with its outcome among the details: "ok", "ok: the
// finding", "not offered: why" or "failed: why".
class Steps {
  constructor(o, r) { Object.assign(this, { o, r, failed: [] }) }

  async do(name, step) {
    try {
      const found = await step()
      this.r.detail(name, typeof found === 'string' || typeof found === 'number' ? `ok: ${found}` : 'ok')
    } catch (e) {
      if (e instanceof NotOffered) return this.notOffered(name, e.message)
      this.r.detail(name, `failed: ${why(e)}`)
      this.failed.push(`${name}: ${why(e)}`)
    }
  }

  // look is a step that only reads, and is tried again while it fails.
  async look(name, step) {
    const end = Date.now() + Math.min(SETTLE, this.o.left())
    await this.do(name, async () => {
      for (;;) {
        try {
          return await step()
        } catch (e) {
          if (e instanceof NotOffered || Date.now() > end) throw e
          await sleep(200)
        }
      }
    })
  }

  notOffered(name, reason) { this.r.detail(name, `not offered: ${reason}`) }

  check() { if (this.failed.length) throw new Error(this.failed.join('; ')) }
}

// unsecuredJWT is a token without a signature.
function unsecuredJWT(sub) {
  const encode = claims => Buffer.from(JSON.stringify(claims)).toString('base64url')
  const now = Math.floor(Date.now() / 1000)
  return `${encode({ alg: 'none' })}.${encode({ sub, iat: now - 60, exp: now + 3600 })}.`
}

// main runs the work that the command line asks for.
async function main(client) {
  const r = new Result(client.name, client.version, process.argv[2] || '')
  let o
  try {
    o = parse(process.argv.slice(2))
  } catch (e) {
    r.finish(USAGE, e)
  }
  // The program must end even if the library hangs.
  setTimeout(() => r.finish(FAILED, new Error(`still not done ${GRACE} ms after the timeout of ${o.limit} ms`)),
    o.limit + GRACE).unref()
  setTimeout(() => { // works that watch the time themselves say more
    if (['consume', 'session'].includes(o.work)) return
    const { sent, acked } = r.fields
    r.finish(FAILED, new Error(`not done in time: ${sent} records sent, ${acked} acknowledged`))
  }, o.limit).unref()
  const works = {
    version: () => {}, produce, consume, session, tail,
    transaction: client.transaction, admin: client.admin, token: client.token,
  }
  try {
    if (!(o.work in works)) throw new Error(`unknown work ${o.work}`)
    if (!works[o.work]) throw new NotOffered(`${o.work}: the library has none`)
    client.check(o)
    await works[o.work](client, o, r)
    if (o.work !== 'version') {
      try {
        r.fields.addresses = [...new Set(await client.addresses(o))].sort()
      } catch (e) {
        r.detail('addresses_error', why(e))
      }
    }
  } catch (e) {
    console.error(e)
    r.finish(e instanceof NotOffered ? NOT_OFFERED : FAILED, e)
  }
  r.finish(DONE)
}

module.exports = { main, sleep, number, transactions, unsecuredJWT, why, NotOffered, Outcomes, Steps, PER_TRANSACTION }
