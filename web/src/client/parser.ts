import type { RawFrame } from './types.js';

/** Reads an event stream piece by piece. */
export interface EventStreamParser {
  /** The frames that the next bytes complete. */
  push(bytes: Uint8Array): RawFrame[];
  /** The last id of a block that was whole. */
  id(): string;
  /** What the stream names as the shortest delay before a new attempt; 0: nothing. */
  retryMs(): number;
}

/**
 * Creates a reader of event streams, however their bytes are cut.
 *
 * WHATWG HTML, section 9.2.6. Each character is looked at once, whatever the size of an event: a line
 * that is not whole yet is kept as it came. Of a block of more than `maxChars` no data are kept, so
 * that memory stays bounded, but its id counts: a client that goes on behind it does not meet it again.
 */
export function createParser(maxChars: number = Infinity): EventStreamParser {
  const decoder = new TextDecoder();
  const lineEnd = /\r\n?|\n/g;
  let lastId = '';
  let retryMs = 0;
  /** The line so far. */
  let line = '';
  /** Whether the line was longer than what is kept of it. */
  let isCut = false;
  let endedInCR = false;
  let type = '';
  let data: string | null = null;
  let id: string | null = null;
  /** The characters of the block's data. */
  let size = 0;
  let oversize = false;

  const take = (part: string) => {
    if (line.length + part.length <= maxChars) {
      line += part;
    } else {
      // Not blank: it must not end the block.
      line ||= part[0]!;
      isCut = true;
    }
  };

  const endField = () => {
    const [, name, value = ''] = /^([^:]*):? ?(.*)/s.exec(line)!;
    if (isCut) {
      oversize ||= name !== '';
      isCut = false;
    } else if (name === 'data') {
      size += value.length + 1;
      oversize ||= size > maxChars + 1;
      if (oversize) data = '';
      else data = data === null ? value : data + '\n' + value;
    } else if (name === 'event') {
      type = value;
    } else if (name === 'id' && !value.includes('\0')) {
      id = value;
    } else if (name === 'retry' && /^\d+$/.test(value)) {
      retryMs = +value;
    }
    line = '';
  };

  const endBlock = (frames: RawFrame[]) => {
    lastId = id ?? lastId;
    if (data !== null || oversize) {
      const hasId = id !== null;
      frames.push({ type: type || 'message', data: data ?? '', id: lastId, hasId, oversize });
    }
    type = '';
    data = id = null;
    size = 0;
    oversize = false;
  };

  return {
    id: () => lastId,
    retryMs: () => retryMs,
    push(bytes) {
      const frames: RawFrame[] = [];
      const text = decoder.decode(bytes, { stream: true });
      if (!text) return frames;
      // The second half of a line end that was cut.
      let start = endedInCR && text[0] === '\n' ? 1 : 0;
      endedInCR = text.endsWith('\r');
      lineEnd.lastIndex = start;
      for (let match = lineEnd.exec(text); match; match = lineEnd.exec(text)) {
        take(text.slice(start, match.index));
        start = lineEnd.lastIndex;
        if (line) endField();
        else endBlock(frames);
      }
      take(text.slice(start));
      return frames;
    },
  };
}

/** The frames of a body, those of each piece together. */
export async function* readFrames(
  body: ReadableStream<Uint8Array>,
  parser: EventStreamParser,
): AsyncGenerator<RawFrame[], void, undefined> {
  const reader = body.getReader();
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      yield parser.push(part.value);
    }
  } finally {
    // Does nothing where the body has ended; else tells the service that nobody reads on.
    await reader.cancel().catch(() => {});
  }
}

/**
 * The frames of a body, as they come.
 *
 * Usable alone, with any service: `for await (const frame of parseEventStream(response.body))`.
 */
export async function* parseEventStream(
  body: ReadableStream<Uint8Array>,
  maxChars?: number,
): AsyncGenerator<RawFrame, void, undefined> {
  for await (const frames of readFrames(body, createParser(maxChars))) yield* frames;
}
