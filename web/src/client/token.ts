import type { TokenSource } from './types.js';

/** The token that requests are made with, asked for when it is needed and kept while it is good. */
export interface Tokens {
  /** Rejects when the source does. */
  get(): Promise<string | undefined>;
  /** Makes the next `get` ask for another one; `false` where there is nobody to ask. */
  renew(why: 'expired' | 'rejected'): boolean;
}

/** Keeps the token of a source. */
export function keepToken(source: TokenSource | undefined): Tokens {
  let token: string | undefined;
  let why: 'first' | 'expired' | 'rejected' | null = 'first';
  return {
    async get() {
      if (typeof source !== 'function') return source;
      if (why) token = await source(why);
      why = null;
      return token;
    },
    renew(reason) {
      why = reason;
      return typeof source === 'function';
    },
  };
}
