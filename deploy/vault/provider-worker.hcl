# provider-worker: reads provider keys. It cannot write, delete or undelete any.

path "llm/data/tenants/+/providers/+/+" {
  capabilities = ["read"]
}

# Which keys there are, and the number of their version.
path "llm/metadata/tenants/+/providers/+/" {
  capabilities = ["list"]
}

path "llm/metadata/tenants/+/providers/+/+" {
  capabilities = ["read"]
}
