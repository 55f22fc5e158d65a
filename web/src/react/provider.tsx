import { type ReactNode, useEffect, useMemo } from 'react';
import { type ClientOptions, createStream, type StreamClient } from '../client/index.js';
import { StreamContext } from './context.js';
import { createElement } from './element.js';

/** What a provider is given: a client, or what to make one of. */
export interface SSEProviderProps {
  /** Opened while the provider is there, unless it is open already. */
  client?: StreamClient<any>;
  /** A new `url`, `filters` or `shareKey` makes a new client; what else changes does not. */
  options?: ClientOptions<any>;
  /** `false` keeps the stream closed. */
  enabled?: boolean;
  children?: ReactNode;
}

/** Gives its children one stream, open as long as the provider is there. */
export function SSEProvider({ client, options, enabled = true, children }: SSEProviderProps) {
  const key = options && JSON.stringify([options.url, options.filters, options.shareKey]);
  const stream = useMemo(
    () => client ?? createStream(options!),
    // oxlint-disable-next-line exhaustive-deps -- options are compared by what they say
    [client, key],
  );
  useEffect(() => {
    if (!enabled || !/idle|closed/.test(stream.getStatus().phase)) return;
    stream.open();
    return () => stream.close();
  }, [stream, enabled]);
  return <StreamContext.Provider value={stream}>{children}</StreamContext.Provider>;
}
