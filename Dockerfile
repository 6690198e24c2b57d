FROM node:24-trixie-slim AS build
WORKDIR /app
# Dependencies change less often than source: installed first, they stay in the layer cache.
# Compiling TypeScript needs no package's install script, so none gets to run.
COPY package.json package-lock.json ./
RUN ["npm", "ci", "--ignore-scripts"]
COPY tsconfig.json ./
COPY src ./src
RUN ["npm", "run", "build"]
RUN ["node", "-e", "fs.mkdirSync('/data')"]

# Node and what it links to: no shell, no package manager, nothing to keep patched but Node.
FROM gcr.io/distroless/nodejs24-debian13:nonroot
# COPY makes /app and gives it to root. WORKDIR would give it to the user of the base image, and
# a process that owns the directory can put other code in the place of its own.
COPY package.json /app/
COPY --from=build /app/dist /app/dist
# For DATA_DIR=/data: a volume that is mounted there belongs to whom the directory belongs.
COPY --from=build --chown=65532:65532 /data /data
WORKDIR /app
# A published port cannot reach a process that listens on the container's own loopback.
ENV NODE_ENV=production HOST=0.0.0.0
# A number, from which Kubernetes (runAsNonRoot) can tell by itself that it is not root.
USER 65532:65532
EXPOSE 3000
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s \
  CMD ["/nodejs/bin/node", "dist/index.js", "health"]
# The entrypoint of the base image is node: this is its script, and node's own flags go before.
CMD ["dist/index.js"]
