import { defineConfig } from "vitest/config";

export default defineConfig({
  // The page is at /spotmix/ui/<view> and the bundle at /spotmix/static/, below whatever path Airflow is at.
  experimental: {
    renderBuiltUrl: (name, { hostType }) => (hostType === "html" ? `../static/${name}` : { relative: true }),
  },
  build: {
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0, // the content security policy knows no data: but for images
    chunkSizeWarningLimit: 150,
  },
  test: { environment: "happy-dom", include: ["test/**/*.test.{ts,tsx}"], setupFiles: ["test/setup.ts"] },
});
