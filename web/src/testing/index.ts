export { createFakeStream } from './fake-stream.js';
export type { FakeStream } from './fake-stream.js';
export { createManualClock, settle } from './manual-clock.js';
export type { ManualClock } from './manual-clock.js';
