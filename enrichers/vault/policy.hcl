# What Tipstaff's token needs: metadata of secrets, never their values.
path "kv/metadata/*" {
  capabilities = ["read"]
}

path "auth/token/lookup-accessor" {
  capabilities = ["update"]
}

path "sys/leases/lookup" {
  capabilities = ["update"]
}
