// Made by tools/generate-types.mjs from Schemas/; not to be edited.

/** An event of the moment, by a channel of Redis: without an id, in no history, never replayed. */
export type EphemeralEvent = {
  readonly type: string;
  /** The type without its last part. */
  readonly topic: string;
  /** What the mapping of the source made of the message. */
  readonly key?: string;
  readonly op: 'publish';
  /** When it came: RFC 3339 in UTC with microseconds, by the clock of the node. */
  readonly time: string;
  /** What the message said: any JSON. */
  readonly data: unknown;
};

/** An event of its own, by event_service.publish or POST /api/v1/events. */
export type PublishedEvent = {
  /** The number the event was given at capture. */
  readonly event_id: string;
  readonly type: string;
  /** The type without its last part. */
  readonly topic: string;
  /** The row's key; of several columns a JSON array. */
  readonly key?: string;
  readonly op: 'publish';
  /** RFC 3339 in UTC with microseconds, by the database's clock. */
  readonly time: string;
  /** The trace of whoever wrote it, as W3C Trace Context has it; left out when there is none. */
  readonly traceparent?: string;
  /** What was published: any JSON. */
  readonly data?: unknown;
  /** Stands for what would make the event larger than max_event_bytes. */
  readonly oversize?: Oversize;
};

/** A row was changed. Which members there are is said by `op`; a member that does not apply is left out. */
export type RowEvent<Row = Record<string, unknown>> = {
  /** The number the event was given at capture. */
  readonly event_id: string;
  readonly type: string;
  /** The type without its last part. */
  readonly topic: string;
  /** RFC 3339 in UTC with microseconds, by the database's clock. */
  readonly time: string;
  /** The trace of whoever wrote it, as W3C Trace Context has it; left out when there is none. */
  readonly traceparent?: string;
} & (
  | {
    readonly op: 'insert';
    readonly key?: string;
    readonly new?: Row;
    readonly oversize?: Oversize;
    readonly old?: undefined;
    readonly changed?: undefined;
  }
  | {
    readonly op: 'update';
    readonly key?: string;
    readonly new?: Row;
    readonly oversize?: Oversize;
    readonly old?: Row;
    readonly changed?: ReadonlyArray<string>;
  }
  | {
    readonly op: 'delete';
    readonly key?: string;
    readonly new?: undefined;
    readonly oversize?: Oversize;
    readonly old?: Row;
    readonly changed?: undefined;
  }
  | {
    readonly op: 'enter';
    readonly key?: string;
    readonly new?: Row;
    readonly oversize?: Oversize;
    readonly old?: undefined;
    readonly changed?: undefined;
  }
  | {
    readonly op: 'leave';
    readonly key?: string;
    readonly new?: undefined;
    readonly oversize?: undefined;
    readonly old?: undefined;
    readonly changed?: undefined;
  }
  | {
    readonly op: 'truncate';
    readonly key?: undefined;
    readonly new?: undefined;
    readonly oversize?: undefined;
    readonly old?: undefined;
    readonly changed?: undefined;
  }
);

/** A page of GET /api/v1/events/history. */
export type HistoryPage = {
  readonly events: ReadonlyArray<{ readonly id: string } & (RowEvent | PublishedEvent)>;
  /** How far the log was read: the since of the next page. */
  readonly next: string;
  readonly has_more: boolean;
  readonly reset: null | StreamReset;
};

/** What went wrong (RFC 9457). */
export type Problem = {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly request_id: string;
};

/** Only events passed that this stream may not see; its id keeps up with the log. */
export type StreamCursor = Record<string, never>;

/** The last frame of a stream that ends as planned. */
export type StreamEnd = {
  readonly reason: 'lifetime' | 'shutdown' | 'slow' | 'revoked' | 'expired';
};

/** Whether the service is ready has changed. Also the body of /readyz. */
export type StreamHealth = {
  readonly ready: boolean;
  /** Why it is not; empty when it is. */
  readonly reasons: ReadonlyArray<'database' | 'migrations' | 'listener' | 'sequencer' | 'draining'>;
};

/** Replay has caught up; what follows is live. */
export type StreamLive = {
  /** The id of the last event in the log. */
  readonly head: string;
};

/** The first frame of every stream. */
export type StreamOpen = {
  /** Names the connection in logs and in the admin API. */
  readonly connection_id: string;
  /** Now, by the service's clock. */
  readonly time: string;
  /** The longest time in which nothing is sent. */
  readonly heartbeat_seconds: number;
  /** fresh: no id was asked for; complete: what follows joins on to it; gap: it does not, and stream.reset follows. */
  readonly resumed: 'fresh' | 'complete' | 'gap';
  /** The id of the last event in the log. */
  readonly head: string;
};

/** The position that was asked for cannot be served: what the client holds is void. Also the `reset` of a page of history. */
export type StreamReset = {
  readonly reason: 'expired' | 'unknown-epoch' | 'ahead' | 'malformed';
  /** What was asked for, as it was given. */
  readonly requested: string;
  /** The cursor before the first event that is kept. */
  readonly earliest: string;
  /** The id of the last event in the log. */
  readonly head: string;
};

/** Stands for what would make the event larger than max_event_bytes. */
export type Oversize = {
  /** The size of the whole event. */
  readonly bytes: number;
  /** Where the whole event is. */
  readonly href: string;
};
