export { eventSourceTransport } from './transport-eventsource.js';
export type { EventSourceOptions } from './transport-eventsource.js';
