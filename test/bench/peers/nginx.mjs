// nginx as a streaming proxy: its configuration, and the folder that it wants.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const folders = new Set();
process.on("exit", () => folders.forEach((folder) => rmSync(folder, { recursive: true })));

/** @returns the command that runs it */
export function nginxCommand({ port, upstreamPort, apiKey }) {
  const folder = mkdtempSync(join(tmpdir(), "bench-nginx-"));
  folders.add(folder);
  const file = join(folder, "nginx.conf");
  writeFileSync(file, configuration(folder, port, upstreamPort, apiKey));
  return ["nginx", "-p", folder, "-e", "stderr", "-c", file];
}

function configuration(folder, port, upstreamPort, apiKey) {
  return `
daemon off;
pid ${folder}/nginx.pid;
worker_processes 1;
worker_rlimit_nofile 16384;
error_log stderr crit;
events {
  worker_connections 16384;
}
http {
  access_log /dev/null;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
  upstream openai {
    server 127.0.0.1:${upstreamPort};
    keepalive 64;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location /v1/ {
      proxy_pass http://openai;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Authorization "Bearer ${apiKey}";
      proxy_buffering off;
    }
  }
}
`;
}
