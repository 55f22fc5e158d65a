// How the API is meant to be written; it is compiled, not run. What must not compile says so.
import {
  createStream,
  type RowEvent,
  SSEClient,
  type StreamStatus,
} from '../../src/client/index.js';

interface Task {
  id: number;
  status: 'pending' | 'running';
}

interface Events {
  'task.created': RowEvent<Task>;
  'task.status-changed': RowEvent<Task>;
  'demo.note': { data: string };
}

const stream = createStream<Events>({
  url: '/api/v1/events/stream',
  filters: { context: ['a', 'b'], type: 'task.*' },
  token: async (why) => why === 'first' ? 'a' : 'b',
  schemas: { 'demo.note': (value) => value as { data: string } },
  onInvalid: (raw, error) => console.warn(raw.type, error.code),
  backoff: { min: 100, jitter: 'equal' },
  fallback: { everyMs: 1000 },
  hidden: { closeAfterMs: 60_000 },
});

const end: () => void = stream.on('task.created', ({ data, type }) => {
  const name: 'task.created' = type;
  if (data.op === 'insert') console.log(name, data.new?.status, data.oversize?.bytes);
  // @ts-expect-error -- an insert has no row before it
  if (data.op === 'insert') console.log(data.old.id);
});
stream.on('demo.note', ({ data }) => data.data.toUpperCase());
stream.on('*', ({ id, replayed }) => [id.length, replayed]);
stream.on('task.*', ({ data }) => data);
// @ts-expect-error -- no such type
stream.on('task.creatd', () => {});
stream.onGap(({ reason, id }) => console.log(reason, id));
stream.subscribe(() => {
  const { phase, health, retryAt }: StreamStatus = stream.getStatus();
  console.log(phase, health, retryAt);
  // @ts-expect-error -- frozen
  stream.getStatus().phase = 'open';
});

export async function read() {
  for await (const event of stream.events({ types: ['demo.note'] })) console.log(event.type);
}

const client = new SSEClient<Events>({ url: '/stream', onInvalid: 'error', tabs: 'each' });
client.open();
end();
// @ts-expect-error -- a URL is needed
createStream({});
