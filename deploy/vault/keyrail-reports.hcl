# keyrail-reports: the admin keys with which `keyrail reconcile --fetch` reads reports. No service has this role; whoever runs
# that command has. It reaches no key that calls are made with, and the services' roles reach none of these.

path "llm/data/admin/+" {
  capabilities = ["create", "update", "read"]
}

path "llm/metadata/admin/" {
  capabilities = ["list"]
}

path "llm/metadata/admin/+" {
  capabilities = ["create", "update", "delete"]
}
