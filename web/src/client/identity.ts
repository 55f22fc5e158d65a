/** The claims of a token (RFC 7519), unverified; `null` where it cannot be read. */
function claimsOf(token: string): Record<string, unknown> | null {
  try {
    const part = token.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/');
    const bytes = Uint8Array.from(atob(part), (char) => char.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

/**
 * What tells those who may see the same from others: a token's claims without those that differ from
 * one token to the next. `null` where the token cannot be read: nobody shares with who holds it.
 */
export function identityOf(token: string | undefined): string | null {
  if (!token) return '';
  const claims = claimsOf(token);
  if (!claims) return null;
  const kept = Object.entries(claims).filter(([name]) => !/^(exp|iat|nbf|jti)$/.test(name));
  return JSON.stringify(kept.sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** A name that only those have who want the same and may see the same; `null`: nobody shares. */
export async function groupName(
  what: string,
  token: string | undefined,
  shareKey: string | undefined,
): Promise<string | null> {
  const canShare = navigator.locks && globalThis.BroadcastChannel && crypto.subtle;
  const identity = shareKey ?? identityOf(token);
  if (!canShare || identity === null) return null;
  const text = JSON.stringify([what, shareKey === undefined, identity]);
  const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(text));
  const hex = Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, '0'));
  return 'event-service:' + hex.join('');
}
