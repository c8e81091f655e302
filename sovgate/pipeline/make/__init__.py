"""What is made beside a model: record, SBOM, measurements, attestations, signature."""
