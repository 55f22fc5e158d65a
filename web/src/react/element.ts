/** What JSX becomes. From one place: a bundler repeats an import for each module that has it. */
export { createElement } from 'react';
