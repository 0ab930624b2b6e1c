// The build. Its result is committed: whoever installs WebXen needs no Node.js. File names carry no
// hash so that templates can name them, and a rebuild must give the same bytes.
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';
import { iconSprite } from './icons.ts';

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  base: './',
  publicDir: 'public',
  plugins: [iconSprite()],
  build: {
    outDir: here('../webxen/static/webxen'),
    emptyOutDir: true,
    assetsInlineLimit: 0,
    cssCodeSplit: true,
    modulePreload: false,
    sourcemap: false,
    reportCompressedSize: false,
    chunkSizeWarningLimit: 1500,
    rollupOptions: {
      input: {
        theme: here('src/theme.ts'),
        app: here('src/main.ts'),
        console: here('src/console/main.ts'),
        charts: here('src/charts.ts'),
      },
      output: {
        entryFileNames: '[name].js',
        chunkFileNames: '[name].js',
        assetFileNames: '[name][extname]',
      },
    },
  },
  test: {
    // making a DOM takes seconds: files that need one say so in their first line
    environment: 'node',
    pool: 'threads',
    maxWorkers: 2,
    include: ['src/**/*.test.ts'],
  },
});
