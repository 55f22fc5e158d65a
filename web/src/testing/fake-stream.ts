import type { Outcome, RawFrame, Transport, TransportRequest } from '../client/types.js';

/** A service in memory, for tests of what uses a client: it says what it is told to. */
export interface FakeStream {
  transport: Transport;
  /** All requests that were made. */
  readonly requests: TransportRequest[];
  /** Whether a stream is open now. */
  isConnected(): boolean;
  /** Sends the frames of a stream that begins. */
  open(resumed?: 'fresh' | 'complete' | 'gap'): Promise<void>;
  /** Sends one event; with an id of its own if none is given. */
  event(type: string, data: unknown, id?: string): Promise<void>;
  /** Sends frames as one chunk. */
  send(frames: Array<Partial<RawFrame> & { type: string; data: string }>): Promise<void>;
  /** Ends the stream, as the network would. */
  end(outcome?: Outcome): void;
}

/** Creates a service that nobody has asked yet. */
export function createFakeStream(): FakeStream {
  const requests: TransportRequest[] = [];
  let position = 0;
  let current:
    | { sink: Parameters<Transport>[1]; finish: (outcome: Outcome) => void }
    | null = null;

  const stream: FakeStream = {
    requests,
    isConnected: () => current !== null,
    transport(request, sink) {
      requests.push(request);
      return new Promise((resolve) => {
        const finish = (outcome: Outcome) => {
          current = null;
          resolve(outcome);
        };
        current = { sink, finish };
        request.signal.addEventListener('abort', () => finish(null));
      });
    },
    async send(frames) {
      current?.sink.alive();
      await current?.sink.frames(
        frames.map((frame) => ({ id: '', hasId: !!frame.id, ...frame })),
      );
    },
    open: (resumed = 'fresh') =>
      stream.send([
        {
          type: 'stream.open',
          data: JSON.stringify({ connection_id: 'c', resumed, heartbeat_seconds: 15 }),
          id: `1-${position}`,
        },
        { type: 'stream.live', data: '{}', id: `1-${position}` },
      ]),
    event(type, data, id = `1-${++position}`) {
      return stream.send([{ type, data: JSON.stringify(data), id }]);
    },
    end(outcome = { code: 'network', message: 'The stream was cut' }) {
      current?.finish(outcome);
    },
  };
  return stream;
}
