'use strict'
// Drives kafkajs.

const { Kafka, CompressionTypes, CompressionCodecs, ConfigResourceTypes, Partitioners, logLevel } = require('kafkajs')
const SnappyCodec = require('kafkajs-snappy')
const lz4 = require('lz4-napi')
const zstd = require('@bokuweb/zstd-wasm')
const contract = require('./contract.js')

// kafkajs has gzip only, and leaves the other codecs to its users.
const zstdReady = zstd.init()
CompressionCodecs[CompressionTypes.Snappy] = SnappyCodec
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: encoder => lz4.compressFrame(encoder.buffer),
  decompress: buffer => lz4.decompressFrame(buffer),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async encoder => { await zstdReady; return Buffer.from(zstd.compress(encoder.buffer, 3)) },
  decompress: async buffer => { await zstdReady; return Buffer.from(zstd.decompress(buffer)) },
})

// patience is for as long as a broker takes to come back; a refused login is
// not tried again.
const patience = { retries: 60, initialRetryTime: 100, maxRetryTime: 1000 }

function connect(o) {
  const sasl = {
    PLAIN: { mechanism: 'plain', username: o.username, password: o.password },
    'SCRAM-SHA-256': { mechanism: 'scram-sha-256', username: o.username, password: o.password },
    'SCRAM-SHA-512': { mechanism: 'scram-sha-512', username: o.username, password: o.password },
    OAUTHBEARER: {
      mechanism: 'oauthbearer', oauthBearerProvider: async () => ({ value: contract.unsecuredJWT(o.username) }),
    },
  }[o.mechanism]
  return new Kafka({
    clientId: 'kafkajs', brokers: [o.bootstrap], sasl: o.sasl ? sasl : undefined,
    connectionTimeout: 10000, authenticationTimeout: 20000, retry: patience,
    reauthenticationThreshold: 1000, // sessions of a few seconds never last the usual 10 s
    logLevel: logLevel.WARN, logCreator: () => ({ label, log }) => console.error(label, JSON.stringify(log)),
  })
}

const most = 500 // records in one call of send

// Batches hands over the records that have gathered while the last batch was on its way:
// kafkajs makes one request of every call.
class Batches {
  constructor(o, producer) {
    Object.assign(this, { o, producer, waiting: [], busy: null })
  }

  send(message, done) {
    this.waiting.push({ message, done })
    this.busy = this.busy || this.run()
  }

  async run() {
    await null // let the caller hand over the rest of its records
    while (this.waiting.length) {
      const batch = this.waiting.splice(0, this.o.size > 1e5 ? 1 : most)
      let error = null
      try {
        await this.producer.send({
          topic: this.o.topic, messages: batch.map(b => b.message),
          acks: { 0: 0, 1: 1, all: -1 }[this.o.acks],
          compression: {
            none: CompressionTypes.None, gzip: CompressionTypes.GZIP, snappy: CompressionTypes.Snappy,
            lz4: CompressionTypes.LZ4, zstd: CompressionTypes.ZSTD,
          }[this.o.compression],
        })
      } catch (e) {
        error = e
      }
      for (const b of batch) b.done(error)
    }
    this.busy = null
  }

  // room waits while many records are to be sent.
  async room() { if (this.waiting.length >= most) await this.busy }

  async close() {
    while (this.busy) await this.busy
    await this.producer.disconnect()
  }
}

const newProducer = (o, more) => connect(o).producer({ createPartitioner: Partitioners.DefaultPartitioner, ...more })

function newConsumer(o) {
  const sizes = o['max-bytes'] ? { maxBytes: o['max-bytes'], maxBytesPerPartition: o['max-bytes'] } : {}
  return connect(o).consumer({
    groupId: o.group, rackId: o.rack, readUncommitted: o.isolation === 'uncommitted', maxWaitTimeInMs: 500, ...sizes,
  })
}

async function withAdmin(o, use) {
  const admin = connect(o).admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

function expect(got, want) {
  if (got !== want) throw new Error(`got ${got}, want ${want}`)
  return got
}

const client = {
  name: 'kafkajs',
  version: require('kafkajs/package.json').version,

  check(o) {
    if (o.work === 'consume' && o.protocol !== 'classic') {
      throw new contract.NotOffered('kafkajs knows the classic group protocol only')
    }
    if (o['static-member']) throw new contract.NotOffered('kafkajs has no group.instance.id')
    if (o['handshake-v0']) throw new contract.NotOffered('kafkajs takes the newest SaslHandshake that the broker has')
  },

  async producer(o) {
    const producer = newProducer(o, o.idempotent ? { idempotent: true, maxInFlightRequests: 1 } : {})
    await producer.connect()
    return new Batches(o, producer)
  },

  async member(o, each, broken) {
    const consumer = newConsumer(o)
    consumer.on(consumer.events.CRASH, ({ payload }) => { if (!payload.restart) broken(payload.error) })
    await consumer.connect()
    await consumer.subscribe({ topic: o.topic, fromBeginning: true })
    await consumer.run({ eachMessage: async ({ message }) => each(message.value) })
    return { leave: () => consumer.disconnect() }
  },

  addresses: o => withAdmin(o, async admin =>
    (await admin.describeCluster()).brokers.map(b => `${b.host}:${b.port}`)),

  async transaction(_, o, r) {
    const producer = newProducer(o, {
      transactionalId: o['transactional-id'], idempotent: true, maxInFlightRequests: 1,
    })
    await producer.connect()
    if (o.from) {
      await transform(o, r, producer)
    } else {
      await contract.transactions(o, r, async (messages, commit) => {
        await transact(producer, commit, transaction => transaction.send({ topic: o.topic, messages }))
      })
    }
    await producer.disconnect()
  },

  admin: (_, o, r) => withAdmin(o, admin => steps(o, r, admin)),
}

// transact does one transaction. While the broker still ends the last one it
// refuses to add to the next, which kafkajs leaves to its users.
async function transact(producer, commit, fill) {
  for (;;) {
    const transaction = await producer.transaction()
    try {
      await fill(transaction)
    } catch (e) {
      await transaction.abort()
      if (e.type !== 'CONCURRENT_TRANSACTIONS') throw e
      await contract.sleep(20)
      continue
    }
    return commit ? transaction.commit() : transaction.abort()
  }
}

// transform copies from one topic to another, offsets in the transaction.
async function transform(o, r, producer) {
  const consumer = newConsumer({ ...o, isolation: 'committed' })
  const outcomes = new contract.Outcomes(r)
  let failed = null
  await consumer.connect()
  await consumer.subscribe({ topic: o.from, fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, heartbeat }) => {
      for (let i = 0; i < batch.messages.length && !failed; i += contract.PER_TRANSACTION) {
        const chunk = batch.messages.slice(i, i + contract.PER_TRANSACTION)
        try {
          if (!await copy(o, producer, consumer, batch, chunk, outcomes)) return
        } catch (e) {
          failed = e
          return
        }
        resolveOffset(chunk[chunk.length - 1].offset)
        await heartbeat()
      }
    },
  })
  while (r.fields.acked < o.count && !failed) await contract.sleep(20)
  await consumer.disconnect()
  if (failed) throw failed
}

// copy does one transaction, and says whether it was committed: otherwise its records are
// read again.
async function copy(o, producer, consumer, batch, chunk, outcomes) {
  const messages = chunk.filter(m => contract.number(o.prefix, m.value) >= 0)
    .map(({ key, value }) => ({ key, value }))
  if (!messages.length) return true
  const commit = outcomes.nextCommits()
  const offset = String(BigInt(chunk[chunk.length - 1].offset) + 1n)
  const partitions = [{ partition: batch.partition, offset }]
  await transact(producer, commit, async transaction => {
    await transaction.send({ topic: o.topic, messages })
    if (commit) await transaction.sendOffsets({ consumerGroupId: o.group, topics: [{ topic: batch.topic, partitions }] })
  })
  if (!commit) consumer.seek({ topic: batch.topic, partition: batch.partition, offset: chunk[0].offset })
  outcomes.add(commit, messages.length)
  return commit
}

async function steps(o, r, admin) {
  const s = new contract.Steps(o, r)
  const partitions = async want =>
    `${expect((await admin.fetchTopicMetadata({ topics: [o.topic] })).topics[0].partitions.length, want)} partitions`
  const topic = { type: ConfigResourceTypes.TOPIC, name: o.topic }
  await s.do('create_topic', () => admin.createTopics({
    topics: [{ topic: o.topic, numPartitions: 3, replicationFactor: o.replication }],
  }))
  await s.look('describe_topic', () => partitions(3))
  await s.look('describe_cluster', async () => {
    const { brokers, controller } = await admin.describeCluster()
    return `${brokers.length} brokers, controller ${controller}`
  })
  await s.do('alter_config', () => admin.alterConfigs({
    validateOnly: false, resources: [{ ...topic, configEntries: [{ name: 'retention.ms', value: '7200000' }] }],
  }))
  await s.look('describe_configs', async () => {
    const { resources } = await admin.describeConfigs({ includeSynonyms: false, resources: [topic] })
    expect(resources[0].configEntries.find(e => e.configName === 'retention.ms').configValue, '7200000')
  })
  await s.do('add_partitions', () => admin.createPartitions({ topicPartitions: [{ topic: o.topic, count: 5 }] }))
  await s.look('added_partitions', () => partitions(5))
  await s.look('list_topics', async () => {
    const topics = await admin.listTopics()
    expect(topics.includes(o.topic), true)
    return topics.length
  })
  let group = o.group
  await s.look('list_groups', async () => {
    const { groups } = await admin.listGroups()
    group = group || groups.map(g => g.groupId).sort()[0]
    return groups.length
  })
  await s.look('describe_group', async () => {
    if (!group) return 'there is no group'
    return (await admin.describeGroups([group])).groups[0].state
  })
  s.notOffered('metadata_quorum', 'no DescribeQuorum')
  await s.do('delete_topic', () => admin.deleteTopics({ topics: [o.topic] }))
  s.check()
}

contract.main(client)
