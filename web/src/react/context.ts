import { createContext, useContext } from 'react';
import type { StreamClient } from '../client/index.js';

/** The client of the nearest `SSEProvider`. */
export const StreamContext = createContext<StreamClient<any> | null>(null);

/** The client of the nearest `SSEProvider`; throws where there is none. */
export function useClient(): StreamClient<any> {
  const client = useContext(StreamContext);
  if (!client) throw new Error('No SSEProvider');
  return client;
}
