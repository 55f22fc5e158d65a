// The small doors.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SSEClient } from '../build/client/index.js';
import { createFakeStream, settle } from '../build/testing/index.js';

test('SSEClient is createStream for those who like new', async (t) => {
  const service = createFakeStream();
  const client = new SSEClient({ url: 'http://localhost/stream', transport: service.transport });
  t.after(() => client.close());
  const seen = [];
  client.on('a', ({ data }) => seen.push(data));
  client.open();
  await settle();
  await service.open();
  await service.event('a', 1);
  assert.ok(client instanceof SSEClient);
  assert.deepEqual([seen, client.getStatus().phase], [[1], 'open']);
  service.end();
  await settle();
  assert.equal(client.getStatus().phase, 'waiting');
});
