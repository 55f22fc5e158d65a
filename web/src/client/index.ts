import { createStream } from './client.js';
import type { ClientOptions, StreamClient } from './types.js';

export { createStream } from './client.js';
export { parseEventStream } from './parser.js';
export type {
  EphemeralEvent,
  HistoryPage,
  Oversize,
  Problem,
  PublishedEvent,
  RowEvent,
  StreamEnd,
  StreamHealth,
  StreamLive,
  StreamOpen,
  StreamReset,
} from './schema-types.js';
export type {
  BackoffOptions,
  ClientOptions,
  Clock,
  FallbackOptions,
  Handler,
  Health,
  LogEntry,
  Outcome,
  Phase,
  RawFrame,
  Schema,
  StandardSchema,
  StreamClient,
  StreamError,
  StreamErrorCode,
  StreamEvent,
  StreamGap,
  StreamStatus,
  TokenSource,
  Transport,
  TransportRequest,
  TransportSink,
  TypePattern,
} from './types.js';

/** `createStream` for those who like `new`. */
// oxlint-disable-next-line no-unsafe-declaration-merging -- the constructor assigns all of it
export interface SSEClient<E = Record<string, any>> extends StreamClient<E> {}
export class SSEClient<E = Record<string, any>> {
  constructor(options: ClientOptions<E>) {
    Object.assign(this, createStream(options));
  }
}
