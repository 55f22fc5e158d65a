/** Where a client stands. `waiting` is between two attempts, `polling` reads history meanwhile. */
export type Phase =
  | 'idle'
  | 'connecting'
  | 'open'
  | 'waiting'
  | 'offline'
  | 'polling'
  | 'closed';

/** How a client is doing: `degraded` without a stream for less than `graceMs`, `down` for longer. */
export type Health = 'good' | 'degraded' | 'down';

/** What went wrong with a stream or an event. */
export type StreamErrorCode =
  | 'unauthorized'
  | 'forbidden'
  | 'bad-response'
  | 'bad-content-type'
  | 'server-busy'
  | 'network'
  | 'silence'
  | 'ended'
  | 'oversize'
  | 'invalid-event'
  | 'stopped-by-server';

/** What went wrong, for code by `code` and for people by `message`. */
export interface StreamError {
  readonly code: StreamErrorCode;
  readonly message: string;
  /** The HTTP status, where there was one. */
  readonly status?: number;
  /** What was thrown, where something was. */
  readonly cause?: unknown;
}

/** A frozen snapshot; a new object only when something in it has changed. */
export interface StreamStatus {
  readonly phase: Phase;
  readonly health: Health;
  /** Failed attempts in a row; 0 once a stream has been stable. */
  readonly attempt: number;
  /** When the next attempt is due, as `Date.now()`. */
  readonly retryAt: number | null;
  /** Since when the phase has lasted. */
  readonly since: number;
  /** When the last event was handed over. */
  readonly lastEventAt: number | null;
  /** The id up to which all handlers have returned. */
  readonly lastEventId: string | null;
  /** Whether this tab has the stream, or hears it from another one. */
  readonly role: 'solo' | 'leader' | 'follower';
  /** How the stream joined on to what this client had. */
  readonly resumed: 'fresh' | 'complete' | 'gap' | null;
  readonly error: StreamError | null;
}

/** One event. */
export interface StreamEvent<K = string, T = unknown> {
  readonly type: K;
  /** Empty for an event of the moment (`EphemeralEvent`), which nobody gets again. */
  readonly id: string;
  readonly data: T;
  readonly receivedAt: number;
  /** Whether it came from the log rather than as it happened. */
  readonly replayed: boolean;
}

/** Why what was held is void. */
export interface StreamGap {
  /** Of the service: `expired`, `unknown-epoch`, `ahead`, `malformed`. Of the client: `unfilled`. */
  readonly reason: string;
  /** The id where the stream goes on. */
  readonly id: string;
}

/** One block of an event stream, as it is dispatched. */
export interface RawFrame {
  /** `message` where none is given. */
  type: string;
  data: string;
  /** The last id that was seen, which stays until another comes; `''` where there was none. */
  id: string;
  /** Whether the block has an id of its own; without one, an event is of the moment only. */
  hasId: boolean;
  /** Set on a block of more than the allowed size, whose data were let go. */
  oversize?: boolean;
}

/** The part of Standard Schema (standardschema.dev, version 1) that is used. */
export interface StandardSchema<T> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    validate(
      value: unknown,
    ): StandardResult<T> | Promise<StandardResult<T>>;
    readonly types?: { readonly input: unknown; readonly output: T } | undefined;
  };
}

/** A value, or what is wrong with it. */
export type StandardResult<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: ReadonlyArray<{ readonly message: string }> };

/** Checks the data of an event: returns them, perhaps transformed, or throws. */
export type Schema<T> = ((value: unknown) => T) | StandardSchema<T>;

/** The token to connect with. `expired`: the last one has run out; `rejected`: it was refused. */
export type TokenSource =
  | string
  | ((why: 'first' | 'expired' | 'rejected') => string | Promise<string>);

/** How long to wait between attempts. */
export interface BackoffOptions {
  /** The first step; 500 ms. */
  min: number;
  /** The longest delay; 30,000 ms. */
  max: number;
  /** By which the step grows; 2. */
  factor: number;
  /** `full` takes 0–100 % of the step, `equal` 50–100 %, `none` all of it. */
  jitter: 'full' | 'equal' | 'none';
  /** How long a stream must be open for the steps to begin anew; 10,000 ms. */
  stableAfter: number;
}

/** Reading history while there is no stream. */
export interface FallbackOptions {
  /** The time between two reads; 5,000 ms. */
  everyMs?: number;
  /** After how many failed attempts it begins; 3. */
  afterFailures?: number;
  /** How often the stream is tried meanwhile, after a first time at once; 30,000 ms. */
  retryStreamMs?: number;
}

/** Time, as it is given to a client. */
export interface Clock {
  /** Milliseconds that go on while the machine sleeps, as `Date.now()`. */
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** One request for a stream. */
export interface TransportRequest {
  /** With all filters in the query. */
  url: string;
  token: string | undefined;
  /** Where the stream is to go on. */
  lastEventId: string | null;
  signal: AbortSignal;
  maxEventBytes: number;
  fetch: typeof fetch;
  /** The types that handlers wait for. */
  types: readonly string[];
}

/** What a transport tells while a stream is open. */
export interface TransportSink {
  /** Something came, if only a heartbeat. */
  alive(): void;
  /** Frames came; no more is read until they are dealt with. */
  frames(frames: RawFrame[]): void | Promise<void>;
  /** The service names a shortest delay for the next attempt. */
  retry(ms: number): void;
}

/** What a connection knows of itself, which the tabs that share it are told. */
export interface Link {
  phase: Phase;
  attempt: number;
  retryAt: number | null;
  resumed: StreamStatus['resumed'];
  error: StreamError | null;
}

/** Frames that belong together. */
export interface Batch {
  /** The id that the first of them joins on to; `null` where that is not known. */
  after: string | null;
  frames: RawFrame[];
  /** Whether replay was over before the first of them. */
  live: boolean;
}

/** How a stream ended; `null` where the service just closed it. */
export type Outcome = (StreamError & { retryAfterMs?: number }) | null;

/** Carries one stream; never rejects. */
export type Transport = (request: TransportRequest, sink: TransportSink) => Promise<Outcome>;

/** Something worth writing down. */
export interface LogEntry {
  readonly level: 'info' | 'warn' | 'error';
  readonly text: string;
  readonly cause?: unknown;
}

/** What a client is made of; only `url` is needed. */
export interface ClientOptions<E = Record<string, unknown>> {
  /** The stream, such as `/api/v1/events/stream`. */
  url: string;
  /** `context`, `type`, `key`: what of that is wanted. */
  filters?: Record<string, string | readonly string[]>;
  /** Where to begin without a cursor: `now` (default), `earliest`, an id, or a time. */
  since?: string;
  /** Where to go on after a gap. */
  gap?: 'head' | 'earliest';
  token?: TokenSource;
  /** Checks the data of events of these types. */
  schemas?: { [K in keyof E]?: Schema<E[K]> };
  /** What becomes of an event that fails its schema, is no JSON, or is too large. */
  onInvalid?: 'drop' | 'error' | ((raw: RawFrame, error: StreamError) => void);
  backoff?: Partial<BackoffOptions>;
  /** After how many failures in a row to give up; never. */
  maxAttempts?: number;
  /** How long without a byte is too long; 2.5 heartbeats. 0 turns it off. */
  silenceMs?: number;
  /** The largest event, in UTF-16 code units; 1,048,576. */
  maxEventBytes?: number;
  /** How long without a stream is `degraded` before it is `down`; 5,000 ms. */
  graceMs?: number;
  /** Keeps the id over reloads. `save` is called after handlers have returned. */
  cursor?: { load(): string | null | Promise<string | null>; save(id: string): void };
  /** `share` (default): one stream for all tabs that want the same and may see the same. */
  tabs?: 'share' | 'each';
  /** Names who may see the same, where the token cannot be read. */
  shareKey?: string;
  /** What to do in a tab that nobody sees. */
  hidden?: 'stay' | { closeAfterMs: number };
  /** `false` turns it off. */
  fallback?: FallbackOptions | false;
  /** Where pages of history are; `false` where there are none. */
  historyUrl?: string | false;
  transport?: Transport;
  fetch?: typeof fetch;
  clock?: Clock;
  /** From 0 to 1. */
  random?: () => number;
  log?: (entry: LogEntry) => void;
}

/** The types that handlers may name: one, the beginning of some and `*`, or all. */
export type TypePattern<E> = (keyof E & string) | '*' | `${string}*`;

/** A handler of one type, or of many. */
export type Handler<E, P extends string> = (
  event: P extends keyof E ? StreamEvent<P, E[P]>
    : { [K in keyof E & string]: StreamEvent<K, E[K]> }[keyof E & string],
) => unknown;

/** What to iterate over. */
export interface EventsOptions {
  /** All, if none are named. */
  types?: readonly string[];
  /** Ends it. */
  signal?: AbortSignal;
  /** How many events may wait; with more, it throws. 10,000. */
  buffer?: number;
}

/** A stream of events that mends itself. */
export interface StreamClient<E = Record<string, unknown>> {
  /** Connects, and stays connected. */
  open(): void;
  /** Ends it; no handler is called afterwards. `open` goes on from the same id. */
  close(): void;
  /** Connects anew, at once. */
  reconnect(reason?: string): void;
  /** Calls a function for each event of a type; returns what ends it. */
  on<P extends TypePattern<E>>(pattern: P, handler: Handler<E, P>): () => void;
  /** Calls a function when what was held is void: load it anew. */
  onGap(handler: (gap: StreamGap) => void): () => void;
  /** The events as an iterable, from its first step on. */
  events(
    options?: EventsOptions & { types?: ReadonlyArray<TypePattern<E>> },
  ): AsyncIterable<{ [K in keyof E & string]: StreamEvent<K, E[K]> }[keyof E & string]>;
  /** Calls a function when the status has changed. */
  subscribe(changed: () => void): () => void;
  getStatus(): StreamStatus;
}
